"""A long recording through `hybridse enhance`: seconds, peak memory, exact length."""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch
from tqdm import tqdm

from benchmarks.command import Report, preset_config, run_script
from benchmarks.memory import peak_of_process
from benchmarks.random_models import write_hybrid
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.generative.decode_weights import DTYPES
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.files.jobs import Job
from espnet_hybridse.inference.files.one_file import enhance_file
from espnet_hybridse.model.branch import BRANCHES
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.training.config import read_yaml


@dataclass(frozen=True)
class LongSettings:
    """What is run: recordings of `minutes` at `fs` Hz by one branch of a preset, on CPU.

    Attributes:
        whole: minutes of one more recording that is enhanced in one piece; 0 leaves it out.

    Raises:
        ValueError: an unknown rate, no minutes, or a segment below 2 s.
    """

    minutes: Sequence[float]
    branch: str = "hybrid"
    fs: int = 48000
    segment_s: float = 10.0
    batch: int | None = None
    decode_dtype: str | None = None
    whole: float = 1.0
    threads: int | None = None

    def __post_init__(self):
        if self.fs not in RATES:
            raise ValueError(f"--rate {self.fs} is not one of {', '.join(map(str, RATES))}")
        if min(self.minutes) <= 0:
            raise ValueError(f"--minutes {min(self.minutes)} must be above 0")
        if self.segment_s < 2:
            raise ValueError(f"--segment {self.segment_s} must be at least 2 s: 1 s is shared")


def run(configs: Mapping[str, Mapping[str, Any]], settings: LongSettings) -> list[dict[str, Any]]:
    """One row a recording; each in a process of its own.

    Args:
        configs: "disc", "gen", "hybrid" -> training YAML.
    """
    cases = [(f"{minutes:g} min", minutes, settings) for minutes in settings.minutes]
    if settings.whole:
        whole = replace(settings, segment_s=61 * settings.whole)
        cases.append((f"{settings.whole:g} min, in one piece", settings.whole, whole))
    rows = []
    with TemporaryDirectory() as folder:
        write_hybrid(configs, Path(folder))
        for label, minutes, case in tqdm(cases, desc="recordings", leave=False):
            with worker_pool(1) as pool:
                try:
                    row = pool.submit(_enhance, folder, minutes, case).result()
                except Exception as error:  # killed for memory, most likely
                    row = {"failed": str(error)}
            rows.append({"label": label, **row})
    return rows


def _enhance(folder: str, minutes: float, settings: LongSettings) -> dict[str, Any]:
    torch.set_num_threads(settings.threads or len(os.sched_getaffinity(0)))
    source, target = (Path(folder) / f"{name}.wav" for name in ("in", "out"))
    frames = write_noise(source, minutes * 60, settings.fs)
    options = {"decode_dtype": settings.decode_dtype} if settings.branch != "disc" else {}
    enhancer = Enhancer.from_pretrained(
        Path(folder) / settings.branch,
        segment_s=settings.segment_s,
        batch=settings.batch,
        **options,
    )
    start = time.perf_counter()
    result = enhance_file(enhancer, Job("long", source, target))
    seconds = time.perf_counter() - start
    if result.reason:
        raise RuntimeError(result.reason)
    peak = peak_of_process()
    return {
        "seconds": seconds,
        "rtf": seconds / 60 / minutes,
        "mb": peak,
        "samples": frames,
        "written": soundfile.info(target).frames,
    }


def write_noise(path: Path, seconds: float, fs: int) -> int:
    """Write 16-bit noise with slow swells, block by block; returns the samples."""
    rng, left = np.random.default_rng(0), round(seconds * fs)
    total = left
    with soundfile.SoundFile(path, "w", fs, 1, "PCM_16") as file:
        while left:
            size = min(left, fs)
            swell = 0.1 + 0.09 * np.sin(np.arange(total - left, total - left + size) / fs)
            file.write(swell * rng.uniform(-1, 1, size))
            left -= size
    return total


COLUMNS = {
    "label": ("Recording", "{}"),
    "seconds": ("seconds", "{:.0f}"),
    "rtf": ("RTF", "{:.3f}"),
    "mb": ("peak MB", "{:.0f}"),
    "samples": ("samples in", "{}"),
    "written": ("samples out", "{}"),
    "failed": ("not measured", "{:.90}"),
}
LEGEND = """\
Read, enhanced and written by a process of its own, on CPU, with random weights; peak MB (2**20
bytes) is all that the process held: Python, PyTorch, weights and audio."""


FILES = {branch.name: branch.config for branch in reversed(BRANCHES.values())}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="+", default=["mini"], help="folders of conf/")
    parser.add_argument("--branch", choices=BRANCHES, default="hybrid")
    parser.add_argument("--minutes", nargs="+", type=float, default=[1.0, 10.0], metavar="M")
    parser.add_argument("--whole", type=float, default=1.0, metavar="M",
                        help="minutes to enhance in one piece as well; 0: none")  # fmt: skip
    parser.add_argument("--rate", type=int, default=48000, metavar="HZ")
    parser.add_argument("--segment", type=float, default=10.0, metavar="S", help="as of enhance")
    parser.add_argument("--batch", type=int, help="as of enhance")
    parser.add_argument("--decode_dtype", choices=DTYPES, help="as of enhance")
    parser.add_argument("--threads", type=int, help="of PyTorch; else one a core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")
    parser.set_defaults(device="cpu")


def report_of(args: argparse.Namespace, device: torch.device) -> int:
    settings = LongSettings(
        args.minutes,
        args.branch,
        args.rate,
        args.segment,
        args.batch,
        args.decode_dtype,
        args.whole,
        args.threads,
    )
    presets = {
        preset: {name: preset_config(preset, file) for name, file in FILES.items()}
        for preset in args.preset
    }
    report = Report(args, asdict(settings), device)
    for preset, files in presets.items():
        rows = run({name: read_yaml(path) for name, path in files.items()}, settings)
        heading = f"{preset}, {args.branch}, {args.rate} Hz, pieces of {args.segment:g} s"
        report.table(preset, heading, rows, COLUMNS)
    return report.end(LEGEND)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 2 after one line on wrong options."""
    return run_script("long", __doc__, add_arguments, report_of, argv)


if __name__ == "__main__":
    sys.exit(main())
