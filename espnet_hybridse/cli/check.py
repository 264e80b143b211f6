"""`hybridse check`: a simulated set, judged; bad samples leave the lists."""

import argparse
import logging
from pathlib import Path

from espnet_hybridse.simulation.check import LEAKS, check_sets
from espnet_hybridse.simulation.check_report import format_table, plot_snrs
from espnet_hybridse.simulation.meta import read_meta
from espnet_hybridse.simulation.render_again import reproduce, set_sources


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
    parser.add_argument(
        "--reproduce",
        type=int,
        default=20,
        metavar="N",
        help="rows of each set, drawn at random, to render again and compare byte for byte",
    )
    parser.add_argument(
        "--picture", type=Path, help="histogram of the SNRs; else snr.png beside the first set"
    )


def run(args: argparse.Namespace) -> int:
    reports = check_sets(args.sets, args.nj, tuple(args.allow_leaks))
    print(format_table(reports))
    differ = []
    for folder in map(Path, args.sets if args.reproduce > 0 else ()):
        samples = read_meta(folder / "meta.tsv")
        result = reproduce(folder, samples, set_sources(folder), args.reproduce)
        print(f"{folder.name}: {result}")
        if result.differences:
            differ.append(folder.name)
    picture = args.picture or Path(args.sets[0]).resolve().parent / "snr.png"
    try:
        plot_snrs(reports, picture)
        print(f"SNRs: {picture}")
    except ValueError as error:  # drawing is an extra
        logging.warning("no picture of the SNRs: %s", error)
    empty = [report.name for report in reports if report.kept == 0]
    if empty:
        print(f"nothing is left of {', '.join(empty)}; quarantine.tsv in each says why")
    return 1 if empty or differ else 0
