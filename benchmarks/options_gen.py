"""`hybridse bench gen`: options and report."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict

import torch

from benchmarks import gen, gen_branch
from benchmarks.command import Report, add_common, configs, separator_conf
from espnet_hybridse.generative.ar_refiner import ARRefiner
from espnet_hybridse.training.config import read_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="+", default=["paper"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_gen.yaml files, no preset"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of speech to decode: 50 tokens each"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="utterances at once")
    parser.add_argument(
        "--systems",
        nargs="+",
        metavar="S",
        help=f"some of {' '.join(gen.SYSTEMS)}; else all that the device runs",
    )
    parser.add_argument("--file_s", type=float, default=60.0, help="recording for the whole branch")
    parser.add_argument("--fs", type=int, default=16000, help="its rate in Hz")
    parser.add_argument("--skip_branch", action="store_true", help="decoding only")
    add_common(parser)
    parser.set_defaults(limit_s=60.0)


def run(args: argparse.Namespace, device: torch.device) -> int:
    every = [key for key in gen.SYSTEMS if key != "int8" or device.type == "cpu"]
    systems = args.systems or every
    settings = gen.Settings(
        device, systems, args.seconds, args.batch, args.repeat, args.limit_s, args.threads
    )
    gen_branch.check(args.file_s, [key for key in systems if key != gen.PEER])
    given = configs(args, "train_gen.yaml")
    options = {name: separator_conf(c, "ar_refiner", ARRefiner) for name, c in given.items()}
    report = Report(args, {**asdict(settings), "separator_conf": options}, device)
    for name, own in options.items():
        for rows in gen.run(lm_sizes(own), settings):
            title = f"{name}, {rows[0].batch} x {settings.frames} frames of prefix and tokens"
            report.table(name, title, gen.as_dicts(rows), gen.COLUMNS)
        dtypes = [key for key in systems if key != gen.PEER]
        if dtypes and not args.skip_branch:
            config = read_yaml(given[name])
            rows = gen_branch.run(config, device, args.file_s, args.fs, dtypes, args.batch)
            title = f"{name}, whole branch, {args.file_s:g} s at {args.fs} Hz"
            report.table(name, title, gen_branch.as_dicts(rows), gen_branch.COLUMNS)
    return report.end(gen.LEGEND)


def lm_sizes(own: Dict[str, Any]) -> Dict[str, Any]:
    """TokenLM's options in a separator_conf of ARRefiner."""
    names = {"lm_layers": "layers", "lm_dim": "dim", "lm_heads": "heads", "lm_ffn": "ffn"}
    names["vocab_size"] = "vocab_size"
    return {ours: own[theirs] for theirs, ours in names.items() if theirs in own}
