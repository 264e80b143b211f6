"""`hybridse pack`: trained models into a folder that travels."""

import argparse
from pathlib import Path

from espnet_hybridse.cli.arguments import pairs
from espnet_hybridse.model.branch import HYBRID, PARTS
from espnet_hybridse.release.espnet_zip import write_espnet_zip
from espnet_hybridse.release.hub import CardFiles, write_hub_folder
from espnet_hybridse.release.pack import pack

NAMES = (*PARTS, HYBRID.name)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for branch in NAMES:
        more = "; a third system that it hears is packed with it" if branch == HYBRID.name else ""
        text = f"experiment of the {branch} model{more}"
        parser.add_argument(f"--{branch}", type=Path, help=text)
    parser.add_argument("--tokens", type=Path, required=True, help="token set of hybridse tokenize")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--fact", nargs="+", default=[], metavar="NAME=VALUE", help="for the card")
    parser.add_argument("--zip", type=Path, help="folder for <branch>.zip in ESPnet's pack format")
    parser.add_argument(
        "--hub", type=Path, help="folder to write for a model hub: safetensors, card, demo page"
    )
    parser.add_argument("--results", type=Path, help="--hub: Markdown table for the card")
    parser.add_argument("--picture", type=Path, help="--hub: spectrograms for the card")
    parser.add_argument(
        "--data_licences", type=Path, help="--hub: LICENSES.md of hybridse prepare, for the card"
    )


def run(args: argparse.Namespace) -> int:
    models = {name: getattr(args, name) for name in NAMES}
    models = {name: exp for name, exp in models.items() if exp is not None}
    if not models:
        raise ValueError("nothing to pack: name at least one of --disc, --gen, --hybrid")
    missing = set(PARTS) - models.keys()
    if HYBRID.name in models and missing:
        names = ", ".join(f"--{name}" for name in sorted(missing))
        raise ValueError(f"--hybrid runs its branches; name {names} too")
    facts = pairs(args.fact, "--fact seed=0")
    files = CardFiles(args.results, args.picture, args.data_licences)
    if args.hub is None and files != CardFiles():
        raise ValueError("--results, --picture and --data_licences are for the card of --hub DIR")
    pack(models, args.tokens, args.out, facts)
    if args.zip is not None:
        for branch in models:
            write_espnet_zip(args.out, branch, args.zip / f"{branch}.zip")
    if args.hub is not None:
        write_hub_folder(args.out, args.hub, facts, files)
    print(f"{args.out}: {', '.join(models)}")
    return 0
