"""`hybridse bench fusion`: options and report."""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks import fusion
from benchmarks.command import (
    Report,
    add_common,
    configs,
    preset_config,
    separator_conf,
)
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fusion.uses_fusion import USESFusion
from espnet_hybridse.sqa.config import SQAConfig
from espnet_hybridse.training.config import read_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="+", default=["mini", "paper"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_fusion.yaml files, no preset"
    )
    parser.add_argument("--sqa", type=Path, help="of hybridse train-sqa; else conf/mini/sqa.yaml")
    parser.add_argument("--rate", type=int, default=16000, metavar="HZ", help=f"of {RATES}")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each utterance")
    parser.add_argument("--batch", type=int, default=4, help="utterances in a step")
    keys = list(fusion.SYSTEMS)
    parser.add_argument(
        "--systems", nargs="+", default=keys, metavar="S", help=f"some of {' '.join(keys)}"
    )
    add_common(parser)
    parser.set_defaults(limit_s=60.0)


def run(args: argparse.Namespace, device: torch.device) -> int:
    settings = fusion.Settings(
        device,
        args.systems,
        args.rate,
        args.seconds,
        args.batch,
        args.repeat,
        args.limit_s,
        args.threads,
    )
    small = SQAConfig.read(args.sqa or preset_config("mini", "sqa.yaml"))
    network = {**small.network, "heads": tuple(small.heads)}
    given = configs(args, "train_fusion.yaml")
    for path in given.values():
        separator_conf(path, "uses_fusion", USESFusion)
    report = Report(args, asdict(settings), device)
    for name, path in given.items():
        rows = fusion.run(read_yaml(path), network, settings)
        title = f"{name}, {settings.batch} x {settings.seconds:g} s at {settings.fs} Hz"
        report.table(name, title, rows, fusion.COLUMNS)
    return report.end(fusion.LEGEND)
