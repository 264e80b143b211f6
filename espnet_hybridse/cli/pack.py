"""`hybridse pack`: trained models into a folder that travels."""

import argparse
from pathlib import Path

from espnet_hybridse.cli.pairs import pairs
from espnet_hybridse.release import pack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for branch in ("disc", "gen", "hybrid"):
        parser.add_argument(f"--{branch}", type=Path, help=f"experiment of the {branch} model")
    parser.add_argument("--sqa", type=Path, help="quality network of hybridse train-sqa")
    parser.add_argument("--tokens", type=Path, required=True, help="token set of stage 4")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--fact", nargs="+", default=[], metavar="NAME=VALUE", help="for the card")


def run(args: argparse.Namespace) -> int:
    models = {name: getattr(args, name) for name in ("disc", "gen", "hybrid")}
    models = {name: exp for name, exp in models.items() if exp is not None}
    if not models:
        raise ValueError("nothing to pack: name at least one of --disc, --gen, --hybrid")
    missing = {"disc", "gen"} - models.keys()
    if "hybrid" in models and missing:
        names = ", ".join(f"--{name}" for name in sorted(missing))
        raise ValueError(f"--hybrid runs its branches; name {names} too")
    pack(models, args.tokens, args.out, pairs(args.fact, "--fact seed=0"), args.sqa)
    print(f"{args.out}: {', '.join(models)}")
    return 0
