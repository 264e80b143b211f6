#!/usr/bin/env bash
# What a stranger gets: builds the source distribution and, from it, the wheel; installs the wheel alone
# into a fresh environment; enhances with it from an empty folder and an empty home.
#   local/check_release.sh [FOLDER for dist/]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=local/find_python.sh
. "${root}/local/find_python.sh"
work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT
dist=${1:-${work}/dist}
python=$(find_python)
unset VIRTUAL_ENV CONDA_PREFIX PYTHONPATH

"${python}" -m venv "${work}/env"
bin=${work}/env/bin
echo "Building with $("${python}" --version)"
"${bin}/python" -m pip install -qq build
"${bin}/python" -m build --outdir "${dist}" "${root}" >"${work}/build.log" 2>&1 || {
  tail -n 30 "${work}/build.log"
  exit 1
}
ls -s --block-size=K "${dist}"

"${bin}/python" - "${dist}" "${root}" <<'EOF'
import re, subprocess, sys, tarfile, zipfile
from pathlib import Path

dist, root = map(Path, sys.argv[1:])
[wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
inside = set(zipfile.ZipFile(wheel).namelist())
code = {str(path.relative_to(root)) for path in (root / "espnet_hybridse").rglob("*.py")}
wanted = code | {
    f"espnet_hybridse/{name}"
    for name in (
        "py.typed",
        "inference/gate.json",
        "demo/player.js",
        "demo/page.css",
        "demo/examples/hiss_and_hum.flac",
        "pretrained/small/hybrid/model.pth",
        "pretrained/small/disc/config.yaml",
        "pretrained/small/gen/model.pth",
        "pretrained/small/tokens/kmeans.npz",
        "pretrained/whisper-tiny-en/encoder.safetensors",
        "pretrained/whisper-tiny-en/LICENSE",
    )
}
problems = [f"the wheel lacks {name}" for name in sorted(wanted - inside)]
problems += [f"the wheel has {name}" for name in inside if re.match("(tests|benchmarks|egs)/", name)]
names = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
for name in ("LICENSE", "README.md", "tests/run.sh", "conf/paper/train_disc.yaml", "run.sh"):
    problems += [] if name in names else [f"the sdist lacks {name}"]
made = re.compile(r"egs/\w+/\w+/(data|downloads|dump|exp)")
problems += [f"the sdist has {name}" for name in names if made.match(name)][:5]
if problems:
    sys.exit("\n".join(problems))
EOF

echo "Installing the wheel without extras"
"${bin}/python" -m pip install -qq --no-cache-dir "${dist}"/*.whl
mkdir "${work}/home" "${work}/empty"
cd "${work}/empty"
export HOME=${work}/home
unset XDG_CACHE_HOME
PATH=${bin}:${PATH}
hybridse --version
examples=$(python -c 'import espnet_hybridse as e; print(*e.__path__)')/demo/examples
hybridse enhance "${examples}" enhanced --json
hybridse doctor | tail -n 1
python - "${examples}" <<'EOF'
import sys
from pathlib import Path

import numpy as np
import soundfile

for source in sorted(Path(sys.argv[1]).glob("*.flac")):
    [made] = Path("enhanced").rglob(source.name)
    want, got = soundfile.info(source), soundfile.info(made)
    assert (got.frames, got.samplerate) == (want.frames, want.samplerate), made
    change = np.abs(soundfile.read(made)[0] - soundfile.read(source)[0]).max()
    assert change > 0.01, f"{made} is {source}"
print("release: installs and enhances")
EOF
