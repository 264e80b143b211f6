"""What only a GPU can show, in a minute and a half: one line a check, code 1 if one fails.

    python -m benchmarks.cuda [--only NAME ...] [--device cuda:0] [--work DIR]

Needs the package, soundfile and transformers; no data and no network. Networks are tiny and
random, the speech is noise. A check that cannot run here says why and counts as skipped.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # products that add in one order

import torch  # noqa: E402

from benchmarks.cuda import training, use  # noqa: E402, F401  (their checks register)
from benchmarks.cuda.checks import CHECKS, Bench, Skip  # noqa: E402


def main() -> int:
    """Run the checks; 0 if none failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--work", type=Path, help="folder to leave everything in")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            print("no GPU here: nothing was checked (--device cpu tries the script itself)")
            return 1
        torch.cuda.set_device(device)
        print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}")
    work = args.work or Path(tempfile.mkdtemp(prefix="cuda_checks_"))
    bench = Bench(work, device)
    failed = 0
    for name in args.only:
        start = time.perf_counter()
        try:
            verdict, text = "ok  ", CHECKS[name](bench)
        except Skip as reason:
            verdict, text = "skip", str(reason)
        except BaseException as error:  # noqa: BLE001  (the next checks still tell something)
            verdict, text = "FAIL", f"{type(error).__name__}: {error}"
            failed += 1
            traceback.print_exc()
        print(f"{verdict} {name:26s} {time.perf_counter() - start:5.1f} s  {text}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
