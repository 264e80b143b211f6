"""`hybridse prepare`: the lists of speech, noise, wind and room responses."""

import argparse
from pathlib import Path

from espnet_hybridse.corpora.open import prepare as open_corpus
from espnet_hybridse.corpora.prepare import MiniOptions, prepare

CORPORA = ("mini", "open")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        choices=CORPORA,
        default="mini",
        help="mini: packages or your own folders; open: public repositories, with mini's training "
        "recordings among them",
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="where the lists go")
    parser.add_argument(
        "--downloads", type=Path, default=Path("downloads"), help="where audio is kept"
    )
    parser.add_argument("--nj", type=int, default=2, help="processes")
    parser.add_argument("--speech_dir", help="your own speech instead of the packages'")
    parser.add_argument("--noise_dir", help="your own noise, together with --speech_dir")
    parser.add_argument("--lang", default="und", help="ISO code of --speech_dir's language")
    parser.add_argument(
        "--num_rirs", type=int, default=120, help="room responses in all, rounded up to threes"
    )
    parser.add_argument(
        "--num_generated", type=int, default=40, help="generated noises, and as many of wind"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same lists")
    parser.add_argument(
        "--repositories",
        help="open: folder of clones, bare or not; git clone lines of those missing are printed",
    )
    parser.add_argument(
        "--without_mini",
        action="store_true",
        help="open: leave out the mini recipe's training recordings, which apt fetches",
    )
    parser.add_argument(
        "--synthetic_hours",
        type=float,
        default=0.0,
        help="open: hours of synthetic speech with text, in all three sets together, about half an "
        "hour of one core each; more hours later add to those there",
    )
    parser.add_argument(
        "--min_dnsmos",
        type=float,
        default=3.0,
        help="open: lowest DNSMOS overall of a clean target (clean_targets.tsv has each one's)",
    )


def run(args: argparse.Namespace) -> int:
    if args.corpus == "open":
        return _run_open(args)
    if args.repositories:
        raise ValueError(f"--repositories {args.repositories} goes with --corpus open")
    options = MiniOptions(
        speech_dir=args.speech_dir,
        noise_dir=args.noise_dir,
        lang=args.lang,
        num_rirs=args.num_rirs,
        num_generated=args.num_generated,
        seed=args.seed,
    )
    for line in prepare(options, args.out, args.downloads, args.nj):
        print(line)
    return 0


def _run_open(args: argparse.Namespace) -> int:
    if args.speech_dir or args.noise_dir:
        raise ValueError("--corpus open takes no --speech_dir and no --noise_dir")
    if not args.repositories:
        raise ValueError(
            "--corpus open reads public repositories: name a folder with --repositories DIR (it "
            "may be empty: the lines that fill it are printed)"
        )
    options = open_corpus.OpenOptions(
        repositories=args.repositories,
        mini=not args.without_mini,
        synthetic_hours=args.synthetic_hours,
        num_rirs=args.num_rirs,
        num_generated=args.num_generated,
        min_dnsmos=args.min_dnsmos,
        seed=args.seed,
    )
    for line in open_corpus.prepare(options, args.out, args.downloads, args.nj):
        print(line)
    return 0
