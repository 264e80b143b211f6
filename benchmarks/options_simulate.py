"""`hybridse bench simulate`: options and report."""

import argparse
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import simulate
from benchmarks.command import Report
from espnet_hybridse.simulation.sources import Sources


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


def run(args: argparse.Namespace, device: torch.device) -> int:
    settings = simulate.Settings(
        args.num, args.repeat, args.limit_s, args.workers, not args.skip_plain
    )
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        if args.sources:
            sources = Sources.from_folder(args.sources)
        else:
            sources = simulate.make_bench_sources(scratch / "sources", settings.seed)
        given = {**asdict(settings), "sources": str(args.sources or "made here")}
        report = Report(args, given, device)
        rows = simulate.as_dicts(simulate.run(sources, scratch, settings))
        report.table("simulate", f"{settings.num} utterances", rows, simulate.COLUMNS)
    return report.end(simulate.legend())
