"""`hybridse push`: a packed model to a model hub."""

import argparse
import re
from pathlib import Path

from espnet_hybridse.release.hub import check_hub_folder, push


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="made by hybridse pack --hub")
    parser.add_argument("name", help="OWNER/NAME on the hub")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument(
        "--dry_run", action="store_true", help="check everything and list it; send nothing"
    )


def run(args: argparse.Namespace) -> int:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", args.name):
        raise ValueError(f"{args.name!r} is no OWNER/NAME")
    sizes = check_hub_folder(args.folder)
    for name, size in sizes.items():
        print(f"{size / 1e6:10.3f} MB  {name}")
    total = f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.2f} MB"
    if args.dry_run:
        print(f"{args.name}: {total} would be sent; hashes agree; nothing was sent")
        return 0
    print(f"{push(args.folder, args.name, args.private)}: {total}")
    return 0
