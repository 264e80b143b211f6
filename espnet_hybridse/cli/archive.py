"""`hybridse archive`: between stages 4 and 5, where a million files are too many."""

import argparse
import json
from pathlib import Path

from espnet_hybridse.data.kaldi_ark import archive_set, read_rates
from espnet_hybridse.fileio.lists import ListError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="rendered set, such as dump/raw/train")
    parser.add_argument("--out", type=Path, required=True, help="folder for archives and lists")
    parser.add_argument("--shard_mb", type=float, default=1000.0, help="size of an archive in MB")
    parser.add_argument(
        "--read_rates",
        type=int,
        default=0,
        metavar="N",
        help="afterwards read N utterances at random from the files and from the archives",
    )


def run(args: argparse.Namespace) -> int:
    if args.shard_mb <= 0:
        raise ListError(f"--shard_mb {args.shard_mb}: expected a size above 0")
    print(archive_set(args.source, args.out, int(args.shard_mb * 1e6)))
    if args.read_rates:
        for row in read_rates([args.source, args.out], args.read_rates):
            print(json.dumps({k: v if isinstance(v, str) else round(v, 1) for k, v in row.items()}))
    return 0
