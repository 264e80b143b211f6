"""`hybridse check`: what stage 2 left, judged; bad samples leave the lists."""

import argparse

from espnet_hybridse.simulation.check import LEAKS, check_sets, format_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sets",
        nargs="+",
        help="simulated sets, such as dump/raw/train dump/raw/valid dump/raw/test; where two "
        "share something, samples are taken out of the one named first",
    )
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument(
        "--allow_leaks",
        nargs="*",
        default=[],
        choices=list(LEAKS),
        help="what sets may share, such as 'speaker' in a corpus with few voices",
    )


def run(args: argparse.Namespace) -> int:
    reports = check_sets(args.sets, args.nj, tuple(args.allow_leaks))
    print(format_table(reports))
    empty = [report.name for report in reports if report.kept == 0]
    if empty:
        print(f"nothing is left of {', '.join(empty)}; quarantine.tsv in each says why")
    return 1 if empty else 0
