"""`hybridse report`: what a hybrid does with its branches."""

import argparse
from pathlib import Path

from espnet_hybridse.cli.pairs import pairs
from espnet_hybridse.device import device_of
from espnet_hybridse.inference.enhancer import Enhancer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="directory of a trained hybrid")
    parser.add_argument("--wavs", type=Path, required=True, help="wav.scp of noisy speech")
    parser.add_argument("--clean", type=Path, help="spk1.scp of the same utterances")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--uids", nargs="+", default=[], help="utterances of the figure")
    parser.add_argument("--pictures", type=int, default=5, help="else so many of the list")
    parser.add_argument("--max_utts", type=int, help="only the first so many of the list")
    parser.add_argument(
        "--scores", nargs="+", default=[], metavar="NAME=DIR", help="scored systems to tabulate"
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")


def run(args: argparse.Namespace) -> int:
    try:
        from espnet_hybridse.report.hybrid import FIGURE, TEXT, write_report
    except ImportError as error:
        raise ValueError(f"{error}; pip install 'espnet_hybridse[recipe]'") from error
    for name in ("pictures", "max_utts"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value} must be at least 1")
    scores = pairs(args.scores, "--scores Noisy=exp/noisy/scores_test")
    enhancer = Enhancer.from_pretrained(args.model, device=str(device_of(args.device)))
    print(
        write_report(
            enhancer,
            args.wavs,
            args.clean,
            args.out,
            args.uids,
            args.pictures,
            args.max_utts,
            {name: Path(folder) for name, folder in scores.items()},
        )
    )
    print(f"written: {args.out / TEXT}, {args.out / FIGURE}")
    return 0
