"""`hybridse bench long`: options and report."""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks import long
from benchmarks.command import Report, preset_config
from espnet_hybridse.generative.decode_weights import DTYPES
from espnet_hybridse.model.find import BRANCH_NAMES
from espnet_hybridse.training.config import read_yaml

FILES = {"disc": "train_disc.yaml", "gen": "train_gen.yaml", "hybrid": "train_fusion.yaml"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="+", default=["mini"], help="folders of conf/")
    parser.add_argument("--branch", choices=BRANCH_NAMES, default="hybrid")
    parser.add_argument("--minutes", nargs="+", type=float, default=[1.0, 10.0], metavar="M")
    parser.add_argument("--whole", type=float, default=1.0, metavar="M",
                        help="minutes to enhance in one piece as well; 0: none")  # fmt: skip
    parser.add_argument("--rate", type=int, default=48000, metavar="HZ")
    parser.add_argument("--segment", type=float, default=10.0, metavar="S", help="as of enhance")
    parser.add_argument("--batch", type=int, help="as of enhance")
    parser.add_argument("--decode_dtype", choices=DTYPES, help="as of enhance")
    parser.add_argument("--threads", type=int, help="of PyTorch; else one a core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")
    parser.set_defaults(device="cpu")


def run(args: argparse.Namespace, device: torch.device) -> int:
    settings = long.Settings(
        args.minutes,
        args.branch,
        args.rate,
        args.segment,
        args.batch,
        args.decode_dtype,
        args.whole,
        args.threads,
    )
    presets = {
        preset: {name: preset_config(preset, file) for name, file in FILES.items()}
        for preset in args.preset
    }
    report = Report(args, asdict(settings), device)
    for preset, files in presets.items():
        rows = long.run({name: read_yaml(path) for name, path in files.items()}, settings)
        title = f"{preset}, {args.branch}, {args.rate} Hz, pieces of {args.segment:g} s"
        report.table(preset, title, rows, long.COLUMNS)
    return report.end(long.LEGEND)
