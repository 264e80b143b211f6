"""`hybridse archive`: a set in a few Kaldi archives, where a million files are too many."""

import argparse
from pathlib import Path

from espnet_hybridse.data.kaldi_ark import archive_set
from espnet_hybridse.fileio.lists import ListError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="rendered set, such as dump/raw/train")
    parser.add_argument("--out", type=Path, required=True, help="folder for archives and lists")
    parser.add_argument("--shard_mb", type=float, default=1000.0, help="size of an archive in MB")


def run(args: argparse.Namespace) -> int:
    if args.shard_mb <= 0:
        raise ListError(f"--shard_mb {args.shard_mb}: expected a size above 0")
    print(archive_set(args.source, args.out, int(args.shard_mb * 1e6)))
    return 0
