"""Speed of the simulation: each distortion, the mix, more workers; beside a plain reading."""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks import simulate_plain
from benchmarks.command import Report, run_script
from benchmarks.measure import measure
from espnet_hybridse.fileio.audio import write_audio
from espnet_hybridse.fileio.lists import write_list
from espnet_hybridse.simulation.config import config_from_dict
from espnet_hybridse.simulation.demo import decaying_noise
from espnet_hybridse.simulation.distortions.grammar import FURTHER_DISTORTIONS
from espnet_hybridse.simulation.distortions.wind import generate_wind
from espnet_hybridse.simulation.executors import open_executor, run_all
from espnet_hybridse.simulation.generated import generate_stationary
from espnet_hybridse.simulation.meta import Sample
from espnet_hybridse.simulation.parameters import sample_parameters
from espnet_hybridse.simulation.render import render_samples
from espnet_hybridse.simulation.sources import Sources

NEVER = {"probability": 0.0}
ALWAYS = {"probability": 1.0}
PARTS: dict[str, dict[str, Any]] = {
    "noise": {},
    "wind_noise": {"wind": ALWAYS},
    "reverberation": {"reverberation": ALWAYS},
    **{
        name: {
            "num_distortions": {1: 1},
            # Where 8 kHz leave nothing to limit, they are left out.
            "rates": {16000: 1, 22050: 1, 24000: 1, 32000: 1, 44100: 1, 48000: 1},
            **{other: {"weight": float(other == name)} for other in FURTHER_DISTORTIONS},
        }
        for name in FURTHER_DISTORTIONS
    },
}
"""One distortion at a time: what differs from plain speech with noise."""
MIX = "the challenge's mix"


@dataclass(frozen=True)
class SimulateSettings:
    """What is measured.

    Attributes:
        num: samples of each row.
        repeat, limit_s: see :func:`measure`.
        workers: numbers of processes for the last rows.
        plain: measure the plain reading too.
        seed: of all draws.
    """

    num: int
    repeat: int
    limit_s: float
    workers: list[int]
    plain: bool
    seed: int = 0

    def __post_init__(self):
        for name in ("num", "repeat"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)} must be above 0")
        if not self.workers or min(self.workers) < 1:
            raise ValueError(f"--workers {self.workers}: numbers of processes, each above 0")


@dataclass
class Row:
    """One line: utterances per second of ours and of the plain reading.

    Attributes:
        scaling: relative to one worker of ours.
        failed: why the plain reading has no value.
    """

    what: str
    workers: int
    ours: float | None = None
    plain: float | None = None
    scaling: float | None = None
    failed: str = ""

    @property
    def factor(self) -> float | None:
        """Ours relative to the plain reading."""
        return self.ours / self.plain if self.ours and self.plain else None


def make_bench_sources(folder: Path, seed: int, num: int = 12) -> Sources:
    """Sources made here: voiced noise of 3 to 6 s at three rates, noises, winds and rooms."""
    rng = np.random.default_rng(seed)
    lists: dict[str, dict[str, str]] = {"speech": {}, "noise": {}, "wind": {}, "rir": {}}

    def put(kind: str, uid: str, wav: np.ndarray, fs: int) -> None:
        path = folder / f"{uid}.flac"
        write_audio(path, 0.5 * wav / np.abs(wav).max(), fs)
        lists[kind][uid] = f"{fs} {path}"

    for index in range(num):
        fs = (48000, 44100, 16000)[index % 3]
        wav = generate_stationary(rng.uniform(3, 6), fs, rng)
        put("speech", f"s{index}", wav * np.clip(np.sin(np.arange(wav.size) * 15 / fs), 0, 1), fs)
        put("noise", f"n{index}", generate_stationary(10.0, 48000, rng), 48000)
    for index in range(4):
        put("wind", f"wind_noise{index}", generate_wind(10.0, 48000, rng), 48000)
        put("rir", f"r{index}", decaying_noise(rng.uniform(0.2, 0.9), 48000, rng), 48000)
    for kind, table in lists.items():
        write_list(folder / f"{kind}.scp", table)
    write_list(folder / "utt2spk", {uid: uid for uid in lists["speech"]})
    return Sources.from_folder(folder)


def run(sources: Sources, scratch: Path, settings: SimulateSettings) -> list[Row]:
    """Measure every distortion, the mix, and the mix with several workers."""
    rows = []
    for name, own in {**PARTS, MIX: None}.items():
        values = {"wind": NEVER, "reverberation": NEVER, "num_distortions": {0: 1}, **(own or {})}
        config = config_from_dict({} if own is None else values)
        out = scratch / "ours"
        samples = list(sample_parameters(sources, config, settings.num, settings.seed, out))
        tasks = [(sample, sources.only(sample)) for sample in samples]
        calls: dict[str, Callable] = {"ours": lambda tasks=tasks: render_samples(tasks)}
        if settings.plain:
            calls["plain"] = lambda samples=samples: plain_all(samples, sources, scratch)
        render_samples(tasks[:2])  # warm up, as the plain reading, whose resampler is compiled
        if settings.plain:
            with suppress(Exception):  # what fails here fails when it is timed, and is a row then
                plain_all(samples[:2], sources, scratch)
        device = torch.device("cpu")
        times, failed = measure(calls, settings.repeat, device, settings.limit_s, name)
        row = Row(name, 1, failed=failed.get("plain", ""))
        for key, values in times.items():
            setattr(row, key, settings.num / min(values))
        rows.append(row)
    return rows + scaling(tasks, settings)


def plain_all(samples: list[Sample], sources: Sources, scratch: Path) -> None:
    """The plain reading of some samples, one after the other."""
    for sample in samples:
        simulate_plain.render(sample, sources, scratch)


def scaling(tasks: list, settings: SimulateSettings) -> list[Row]:
    """The mix with several numbers of workers, their start not counted."""
    rows, many = [], tasks * 4
    for workers in settings.workers:
        with open_executor("processes", workers) as pool:
            best = float("inf")
            list(run_all(render_samples, tasks * workers, len(tasks) * workers, pool, workers))
            for _ in range(settings.repeat):
                start = time.perf_counter()
                list(run_all(render_samples, many, len(many), pool, workers))
                best = min(best, time.perf_counter() - start)
        row = Row(f"{MIX}, {workers} worker{'s' * (workers > 1)}", workers, len(many) / best)
        row.scaling = row.ours / rows[0].ours if rows else None
        rows.append(row)
    return rows


COLUMNS = {
    "what": ("Distortion", "{}"),
    "ours": ("ours (utt/s)", "{:.1f}"),
    "plain": ("plain (utt/s)", "{:.1f}"),
    "factor": ("times", "{:.1f}"),
    "scaling": ("to 1 worker", "{:.2f}"),
    "failed": ("failed", "{}"),
}

LEGEND = (
    "Speech of 3 to 6 s with noise, read, distorted and written as FLAC by one process; further "
    "distortions one at a time.\nplain: the challenge's procedure read plainly: whole files read "
    "again for each utterance, FIR high-pass,\ncodecs and wind through "
    "{codec}, librosa's kaiser_best for bandwidth limitation."
)


def legend() -> str:
    """What the columns mean; names the program that the plain reading used."""
    return LEGEND.format(codec="ffmpeg" if shutil.which("ffmpeg") else "PyAV in a process")


def as_dicts(rows: list[Row]) -> list[dict[str, Any]]:
    """For the table and for JSON."""
    return [{**vars(row), "factor": row.factor} for row in rows]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sources", type=Path, help="source folder; else made for the purpose")
    parser.add_argument("--num", type=int, default=40, help="samples of each row")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], help="processes in the last rows"
    )
    parser.add_argument("--skip_plain", action="store_true", help="ours only")
    parser.add_argument("--repeat", type=int, default=3, help="timed calls; the fastest counts")
    parser.add_argument(
        "--limit_s", type=float, default=60.0, help="no further timed calls after so many seconds"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")
    parser.set_defaults(device="cpu", threads=None)


def report_of(args: argparse.Namespace, device: torch.device) -> int:
    settings = SimulateSettings(
        args.num, args.repeat, args.limit_s, args.workers, not args.skip_plain
    )
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        if args.sources:
            sources = Sources.from_folder(args.sources)
        else:
            sources = make_bench_sources(scratch / "sources", settings.seed)
        given = {**asdict(settings), "sources": str(args.sources or "made here")}
        report = Report(args, given, device)
        rows = as_dicts(run(sources, scratch, settings))
        report.table("simulate", f"{settings.num} utterances", rows, COLUMNS)
    return report.end(legend())


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 2 after one line on wrong options."""
    return run_script("simulate", __doc__, add_arguments, report_of, argv)


if __name__ == "__main__":
    sys.exit(main())
