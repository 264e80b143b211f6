"""Scoring beside a plain loop that reads every file once for every metric."""

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
import soxr
import torch

from benchmarks.command import Report, run_script
from benchmarks.measure import reason
from espnet_hybridse.fileio.lists import read_list, write_list
from espnet_hybridse.scoring.engine import score
from espnet_hybridse.scoring.metrics.metric import Context
from espnet_hybridse.scoring.metrics.registry import METRICS, select

TOGETHER = "all of them"
DEFAULT = ("PESQ", "ESTOI", "DNSMOS_OVRL")


@dataclass(frozen=True)
class ScoreSettings:
    """What is scored.

    Args:
        ref, inf: lists of the same utterances; the first `max_utts` of them count.
        metrics: words of --metrics.
        workers: numbers of processes to try.
        plain: time the plain loop as well.
    """

    ref: Path
    inf: Path
    metrics: Sequence[str] = DEFAULT
    workers: Sequence[int] = (1, 2)
    max_utts: int | None = 40
    plain: bool = True

    def __post_init__(self):
        select(self.metrics)
        for number in self.workers:
            if number < 1:
                raise ValueError(f"--workers {number} must be at least 1")


@dataclass
class Row:
    """One metric, or all of them in one run.

    Attributes:
        files: how many were scored.
        plain: files a second of the plain loop.
        rates: number of workers -> files a second of `hybridse score`, start included.
        failed: what did not run, and why.
    """

    label: str
    files: int
    plain: float | None
    rates: dict[int, float]
    failed: dict[str, str]


def run(settings: ScoreSettings) -> Iterator[Row]:
    """Yield a row for each metric, then one for all of them, which reads each file once."""
    inf, ref = read_list(settings.inf), read_list(settings.ref)
    uids = sorted(inf.keys() & ref.keys())[: settings.max_utts]
    if not uids:
        raise ValueError(f"{settings.ref} and {settings.inf} have no utterance in common")
    columns = [name for name in select(settings.metrics) if METRICS[name].available() is None]
    total, whole = 0.0, bool(columns)
    with tempfile.TemporaryDirectory() as folder:
        lists = []
        for name, table in (("ref", ref), ("inf", inf)):
            lists.append(Path(folder) / f"{name}.scp")
            write_list(lists[-1], {uid: table[uid] for uid in uids})
        pairs = [(inf[uid], ref[uid]) for uid in uids]
        for column in columns:
            row = Row(column, len(uids), None, {}, {})
            if settings.plain:
                try:
                    seconds = plain_loop(column, pairs)
                    row.plain, total = len(uids) / seconds, total + seconds
                except Exception as error:  # the others are measured all the same
                    row.failed["plain"], whole = reason(error), False
            yield timed(row, lists, [METRICS[column].key], settings.workers, folder)
        if len(columns) > 1:
            plain = len(uids) / total if settings.plain and whole else None
            row = Row(TOGETHER, len(uids), plain, {}, {})
            keys = [METRICS[column].key for column in columns]
            yield timed(row, lists, keys, settings.workers, folder)


def timed(row: Row, lists: list[Path], keys: list[str], workers: Sequence[int], folder: str) -> Row:
    """Fill in the rates of `hybridse score`."""
    for number in workers:
        out = Path(folder) / f"{row.label}_{number}".replace("/", "_")
        start = time.perf_counter()
        try:
            score(*lists, out, keys, nj=number)
            row.rates[number] = row.files / (time.perf_counter() - start)
        except Exception as error:
            row.failed[f"{number} workers"] = reason(error)
    return row


def plain_loop(column: str, pairs: Sequence[tuple[str, str]]) -> float:
    """Seconds of one metric's own loop over all files, its model loaded before."""
    compute = PLAIN.get(column)
    call = compute() if compute else _with_own_glue(column)
    start = time.perf_counter()
    for inf_path, ref_path in pairs:
        inf, fs = soundfile.read(inf_path, dtype="float32")
        ref, _ = soundfile.read(ref_path, dtype="float32")
        with contextlib.redirect_stdout(io.StringIO()):
            call(inf[: ref.size], ref[: inf.size], fs)
    return time.perf_counter() - start


def _pesq() -> Callable:
    from pesq import PesqError, pesq

    def call(inf, ref, fs):
        if fs == 8000:
            return pesq(fs, ref, inf, "nb", on_error=PesqError.RETURN_VALUES)
        inf, ref = at_16k(inf, fs), at_16k(ref, fs)
        return pesq(16000, ref, inf, "wb", on_error=PesqError.RETURN_VALUES)

    return call


def _estoi() -> Callable:
    from pystoi import stoi

    return lambda inf, ref, fs: stoi(ref, inf, fs, extended=True)


def _dnsmos() -> Callable:
    from speechmos import dnsmos

    def call(inf, ref, fs):
        inf = at_16k(inf, fs)
        return dnsmos.run(inf / max(abs(inf).max(), 1.0), 16000)

    return call


def at_16k(wav, fs):
    """soxr at its default quality."""
    return wav if fs == 16000 else soxr.resample(wav, fs, 16000)


PLAIN = {"PESQ": _pesq, "ESTOI": _estoi, "DNSMOS OVRL": _dnsmos}
"""The public packages, called as the challenge's scripts call them."""


def _with_own_glue(column: str) -> Callable:
    """Other metrics: this package's own call, nothing shared between metrics or files."""
    return lambda inf, ref, fs: METRICS[column].compute(inf, ref, fs, Context("plain"))


LEGEND = (
    "Files a second. Plain: a loop over the public package that reads both files for every metric "
    "anew, its start not counted. Workers: `hybridse score`, the start of its processes counted."
)


def columns_of(workers: Sequence[int]) -> dict[str, tuple[str, str]]:
    """Columns of the table."""
    columns = {"label": ("Metric", "{}"), "files": ("files", "{}"), "plain": ("plain", "{:.2f}")}
    for number in workers:
        name = f"{number} worker{'s' if number > 1 else ''}"
        columns[f"workers_{number}"] = (name, "{:.2f}")
        columns[f"times_{number}"] = (f"x plain, {number}", "{:.1f}")
    columns["why"] = ("failed", "{}")
    return columns


def as_dict(row: Row) -> dict[str, Any]:
    """For the table and for JSON."""
    values: dict[str, Any] = {"label": row.label, "files": row.files, "plain": row.plain}
    for number, rate in row.rates.items():
        values[f"workers_{number}"] = rate
        values[f"times_{number}"] = rate / row.plain if row.plain else None
    values["why"] = "; ".join(f"{what}: {why}" for what, why in row.failed.items())
    return values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ref", type=Path, required=True, metavar="SCP", help="clean files")
    parser.add_argument("--inf", type=Path, required=True, metavar="SCP", help="enhanced files")
    default = list(DEFAULT)
    parser.add_argument("--metrics", nargs="+", default=default, metavar="M", help="all, or some")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2], help="processes to try")
    parser.add_argument("--max_utts", type=int, default=40, help="first so many of the list")
    parser.add_argument("--skip_plain", action="store_true", help="without the plain loop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")
    parser.set_defaults(device="cpu", threads=None)


def report_of(args: argparse.Namespace, device: torch.device) -> int:
    settings = ScoreSettings(
        args.ref, args.inf, args.metrics, args.workers, args.max_utts, not args.skip_plain
    )
    report = Report(args, {"metrics": args.metrics, "max_utts": args.max_utts}, device)
    rows = [as_dict(row) for row in run(settings)]
    report.table("score", "Scoring", rows, columns_of(args.workers))
    return report.end(LEGEND)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 2 after one line on wrong options."""
    return run_script("score", __doc__, add_arguments, report_of, argv)


if __name__ == "__main__":
    sys.exit(main())
