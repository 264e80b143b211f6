"""`hybridse plot`: pictures of stage 10."""

import argparse
from pathlib import Path

from espnet_hybridse.cli.arguments import pairs
from espnet_hybridse.fileio.lists import read_list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--losses", nargs="+", metavar="TITLE=EXP", help="loss curves of these experiments"
    )
    what.add_argument(
        "--spectrograms", nargs="+", metavar="TITLE=SCP", help="one utterance of these lists"
    )
    parser.add_argument("--uid", help="utterance to show; by default the lists' first")


def run(args: argparse.Namespace) -> int:
    try:
        from espnet_hybridse.fileio.pictures import plot_losses, plot_utterance
    except ImportError as error:
        raise ValueError(f"{error}; pip install 'espnet_hybridse[recipe]'") from error
    if args.losses:
        experiments = pairs(args.losses, "--losses Dis.=exp/disc_mini")
        plot_losses({title: Path(exp) for title, exp in experiments.items()}, args.out)
    else:
        lists = pairs(args.spectrograms, "--spectrograms Noisy=dump/raw/test/wav.scp")
        uid = args.uid or min(read_list(next(iter(lists.values()))))
        plot_utterance(lists, uid, args.out)
    print(f"written: {args.out}")
    return 0
