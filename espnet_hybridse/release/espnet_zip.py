"""Packed models as zips in the format of `espnet2.bin.pack`, for stock ESPnet and for ours."""

import hashlib
import json
import sys
import time
import zipfile
from pathlib import Path

import yaml

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.model.branch import FUSED, HYBRID
from espnet_hybridse.model.files import HASHES, find_weights, read_config
from espnet_hybridse.release.encoder import FOLDER


def write_espnet_zip(packed: Path, branch: str, path: Path) -> None:
    """Write one zip of a model and of what it needs.

    A hybrid's branches, and a third system that it hears, are named by their config.yaml: ESPnet's
    unpack turns the name of a packed file, wherever it stands in the config, into the place it was
    unpacked to.

    Args:
        packed: folder of :func:`espnet_hybridse.release.pack.pack`.
        branch: "disc", "gen" or "hybrid".
        path: of the zip.

    Raises:
        FileNotFoundError: `packed` lacks the branch.
    """
    names = [branch]
    if branch == "hybrid":
        conf = read_config(packed / branch / "config.yaml")["separator_conf"]
        names = [*(name for name in FUSED if conf.get(name)), branch]
    files: dict[str, bytes] = {}
    for name in names:
        weights = find_weights(packed / name)
        files[f"{name}/{weights.name}"] = weights.read_bytes()
        files[f"{name}/config.yaml"] = _config(packed / name / "config.yaml", name)
        for file in (packed / name / FOLDER).glob("*"):
            files[f"{name}/{FOLDER}/{file.name}"] = file.read_bytes()
        if name == branch:
            model_file = f"{name}/{weights.name}"
    extra: list[Path] = [*packed.glob("*/manifest.json"), *packed.glob("tokens/*.npz")]
    for file in [*extra, packed / "README.md"]:
        inside = file.relative_to(packed).as_posix()
        if inside.split("/")[0] in (*names, "tokens", "README.md"):
            files[inside] = file.read_bytes()
    train_config = f"{branch}/config.yaml"
    hashes = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in sorted(files.items())
        if name != train_config  # the one that ESPnet's unpack rewrites
    }
    meta = {
        "files": {"model_file": model_file},
        "yaml_files": {"train_config": train_config},
        "timestamp": time.time(),
        "python": sys.version,
        **_versions(),
    }
    files[HASHES] = (json.dumps(hashes, indent=2) + "\n").encode()
    with atomic_path(path) as tmp, zipfile.ZipFile(tmp, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.yaml", yaml.safe_dump(meta, sort_keys=False))
        for name, data in files.items():
            archive.writestr(name, data)


def _config(path: Path, branch: str) -> bytes:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    # Stock ESPnet builds the losses, too, when it loads a model; ours need extras.
    config["criterions"] = []
    if config["separator"] == HYBRID.separator:
        conf = config["separator_conf"]
        conf.update({name: f"{name}/config.yaml" for name in FUSED if conf.get(name)})
    semantic = config["separator_conf"].get("semantic_conf") or {}
    if str(semantic.get("model")).startswith(f"{FOLDER}/"):
        semantic["model"] = f"{branch}/{semantic['model']}"
    return yaml.safe_dump(config, sort_keys=False).encode()


def _versions() -> dict[str, str]:
    import espnet2
    import torch

    return {"torch": str(torch.__version__), "espnet": str(espnet2.__version__)}
