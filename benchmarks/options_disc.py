"""`hybridse bench disc`: options and report."""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks import disc
from benchmarks.command import Report, add_common, configs, separator_conf
from benchmarks.disc_systems import SYSTEMS
from espnet_hybridse.discriminative.tfgridnet_sfi import TFGridNetSFI
from espnet_hybridse.fileio.audio import RATES

SECONDS = {"cpu": 0.25, "cuda": 4.0}
"""Audio in each call by default: on two cores all of it takes less than ten minutes."""
OPTIONAL = ("ours_compile",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    keys = " ".join(SYSTEMS)
    parser.add_argument("--preset", nargs="+", default=["paper", "fast"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_disc.yaml files, no preset"
    )
    parser.add_argument(
        "--rates", nargs="+", type=int, default=[16000, 48000], metavar="HZ", help=f"of {RATES}"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"of audio in each call; else {SECONDS['cpu']} on CPU, {SECONDS['cuda']} on a GPU",
    )
    parser.add_argument("--batch", type=int, default=1, help="utterances in each call")
    parser.add_argument("--systems", nargs="+", metavar="S", help=f"some of {keys}")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--skip_training", action="store_true", help="inference only")
    add_common(parser)


def run(args: argparse.Namespace, device: torch.device) -> int:
    systems = args.systems or [key for key in SYSTEMS if key not in OPTIONAL]
    if args.compile and "ours_compile" not in systems:
        systems.append("ours_compile")
    settings = disc.Settings(
        device,
        args.rates,
        systems,
        SECONDS[device.type] if args.seconds is None else args.seconds,
        args.batch,
        args.repeat,
        args.limit_s,
        not args.skip_training,
        args.threads,
    )
    options = {
        name: separator_conf(config, "tfgridnet_sfi", TFGridNetSFI)
        for name, config in configs(args, "train_disc.yaml").items()
    }
    report = Report(args, {**asdict(settings), "separator_conf": options}, device)
    for name, own in options.items():
        for rows in disc.run(own, settings):
            title = f"{name}, {disc.title(rows, settings)}"
            report.table(name, title, disc.as_dicts(rows), disc.COLUMNS)
    return report.end(disc.LEGEND)
