"""`hybridse bench score`: options and report."""

import argparse
from pathlib import Path

import torch

from benchmarks import score
from benchmarks.command import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ref", type=Path, required=True, metavar="SCP", help="clean files")
    parser.add_argument("--inf", type=Path, required=True, metavar="SCP", help="enhanced files")
    default = list(score.DEFAULT)
    parser.add_argument("--metrics", nargs="+", default=default, metavar="M", help="all, or some")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2], help="processes to try")
    parser.add_argument("--max_utts", type=int, default=40, help="first so many of the list")
    parser.add_argument("--skip_plain", action="store_true", help="without the plain loop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")
    parser.set_defaults(device="cpu", threads=None)


def run(args: argparse.Namespace, device: torch.device) -> int:
    settings = score.Settings(
        args.ref, args.inf, args.metrics, args.workers, args.max_utts, not args.skip_plain
    )
    report = Report(args, {"metrics": args.metrics, "max_utts": args.max_utts}, device)
    rows = [score.as_dict(row) for row in score.run(settings)]
    report.table("score", "Scoring", rows, score.columns_of(args.workers))
    return report.end(score.LEGEND)
