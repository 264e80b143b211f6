"""`hybridse prepare`: stage 1, the lists of speech, noise, wind and room responses."""

import argparse
from pathlib import Path

from espnet_hybridse.corpora.prepare import Options, prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
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


def run(args: argparse.Namespace) -> int:
    options = Options(
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
