"""What a command costs before it works: processor seconds and memory of a short file, by command.

    python -m benchmarks.start [--runs 3] [--model DIR] [--beside OTHER_CHECKOUT]

Each command is a process of its own; `import torch` is the measure of the machine, because it is
most of what is left. Processor seconds, of one thread, are little disturbed by other programs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
from tqdm import tqdm

from espnet_hybridse.fileio.tables import Table

HERE = Path(__file__).resolve().parents[1]
COLUMNS = {
    "label": ("Command", "{}"),
    "ratio": ("x import torch", "{:.2f}"),
    "seconds": ("processor seconds", "{:.2f}"),
    "mb": ("peak MB", "{:.0f}"),
}


def cost_of(command: list[str], tree: Path) -> tuple[float, float]:
    """Processor seconds and peak memory in MB (10**6 bytes) of one process in a checkout."""
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *command], cwd=tree, env=env, **quiet)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{tree}: {' '.join(command)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def commands(folder: Path, model: str | None) -> dict[str, list[str]]:
    """Label -> arguments of Python."""
    fs, rng = 16000, np.random.default_rng(0)
    soundfile.write(folder / "in.wav", 0.1 * rng.normal(size=2 * fs), fs)
    hybridse = ["-m", "espnet_hybridse.cli.main"]
    enhance = [*hybridse, "enhance", f"{folder}/in.wav", f"{folder}/out.wav"]
    enhance += ["--model", model] if model else []
    return {
        "hybridse enhance --branch disc, 2 s": [*enhance, "--branch", "disc"],
        "hybridse enhance, 2 s": enhance,
        "hybridse doctor": [*hybridse, "doctor"],
        "hybridse --help": [*hybridse, "--help"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="of each command; the median counts")
    parser.add_argument("--model", help="as of hybridse enhance, relative to each checkout")
    parser.add_argument("--beside", type=Path, help="another checkout, measured in turns")
    args = parser.parse_args()
    trees = {"": HERE, **({f" ({args.beside.name})": args.beside} if args.beside else {})}
    with tempfile.TemporaryDirectory() as folder:
        cases = {"import torch": (["-c", "import torch"], HERE)}
        for label, command in commands(Path(folder), args.model).items():
            cases.update({label + name: (command, tree) for name, tree in trees.items()})
        costs: dict[str, list[tuple[float, float]]] = {label: [] for label in cases}
        for label in tqdm([*cases] * args.runs, disable=None):  # in turns
            costs[label].append(cost_of(*cases[label]))
    typical = {label: [median(part) for part in zip(*c, strict=True)] for label, c in costs.items()}
    unit = typical["import torch"][0]
    rows = [
        {"label": label, "ratio": seconds / unit, "seconds": seconds, "mb": mb}
        for label, (seconds, mb) in typical.items()
    ]
    print(Table.of(rows, COLUMNS).markdown())


if __name__ == "__main__":
    main()
