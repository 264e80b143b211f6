"""`hybridse bench`: speed and memory beside the peers, measured in one run."""

import argparse
import importlib

import torch

from espnet_hybridse.device import device_of

BENCHMARKS = {
    "disc": "TF-GridNet-SFI beside ESPnet's TFGridNetV3 and the challenge baseline's BSRNN",
    "gen": "the generative branch's decoding beside transformers' generate; its real-time factor",
    "fusion": "a training step of the fusion without and with the learned quality term",
    "long": "a long recording read, enhanced and written: memory beside that of one piece",
    "simulate": "rendering of noisy speech beside a plain reading of the challenge's procedure",
    "score": "'hybridse score' beside a plain loop that reads every file once for every metric",
}
"""Name of a module here -> what it measures."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    form = argparse.ArgumentDefaultsHelpFormatter
    for name, text in BENCHMARKS.items():
        own = what.add_parser(name, help=text, description=text, formatter_class=form)
        module(name).add_arguments(own)


def run(args: argparse.Namespace) -> int:
    device = device_of(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    return module(args.what).run(args, device)


def module(name: str):
    return importlib.import_module(f"{__name__}.{name}")
