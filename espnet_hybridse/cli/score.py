"""`hybridse score`: score one system's files, or tabulate systems that have been scored."""

import argparse
import shlex
import sys

from espnet_hybridse.cli.pairs import pairs
from espnet_hybridse.scoring.engine import score
from espnet_hybridse.scoring.registry import METRICS
from espnet_hybridse.scoring.results import notes, write_results
from espnet_hybridse.scoring.table import harm_table, results_table

BASELINE = "Noisy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    keys = " ".join(metric.key for metric in METRICS.values())
    one = parser.add_argument_group("score one system")
    one.add_argument("--ref", metavar="SCP", help="clean references; without, fewer metrics")
    one.add_argument("--inf", metavar="SCP", help="enhanced files, or the noisy ones")
    one.add_argument("--text", metavar="TEXT", help="transcripts, for CAcc")
    one.add_argument("--utt2lang", metavar="LIST", help="languages; without, CAcc detects them")
    one.add_argument("--metrics", nargs="+", default=["all"], metavar="M", help=f"all, or {keys}")
    one.add_argument("--out", metavar="DIR", help="rows, quarantine and settings go here")
    one.add_argument("--nj", type=int, default=2, help="processes")
    table = parser.add_argument_group("tabulate scored systems")
    table.add_argument("--table", nargs="+", metavar="NAME=DIR", help="systems, row by row")
    table.add_argument("--results", metavar="FILE", help="write the tables and facts here too")
    table.add_argument(
        "--fact", nargs="+", default=[], metavar="NAME=VALUE", help="config, seed … for RESULTS.md"
    )


def run(args: argparse.Namespace) -> int:
    if args.table:
        return tabulate(args)
    missing = [name for name in ("inf", "out") if not getattr(args, name)]
    if missing:
        raise ValueError(f"--{missing[0]} is needed to score, or --table NAME=DIR … to tabulate")
    summary = score(
        args.ref, args.inf, args.out, args.metrics, args.text, args.utt2lang, nj=args.nj
    )
    print(summary)
    return 0


def tabulate(args: argparse.Namespace) -> int:
    out_dirs = pairs(args.table, "--table Noisy=DIR")
    tables = [results_table(out_dirs)]
    if BASELINE in out_dirs and len(out_dirs) > 1:
        tables.append("## Do no harm: utterances made worse\n\n" + harm_table(out_dirs, BASELINE))
    tables.append("## Notes\n\n" + notes(out_dirs))
    print("\n\n".join(tables))
    if args.results:
        command = shlex.join(["hybridse", *sys.argv[1:]])
        facts = {**pairs(args.fact, "--fact seed=0"), "command": f"`{command}`"}
        write_results(args.results, tables, facts)
        print(f"\nwritten: {args.results}")
    return 0
