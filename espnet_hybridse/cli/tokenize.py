"""`hybridse tokenize`: discrete tokens of clean speech."""

import argparse

from espnet_hybridse.cli.arguments import device_of
from espnet_hybridse.tokens.extract import extract
from espnet_hybridse.tokens.tokenizer import BACKENDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spk1", required=True, help="list of clean speech (spk1.scp), any rate")
    parser.add_argument("--out", required=True, help="folder for text_int and manifest.json")
    parser.add_argument("--backend", choices=BACKENDS, help="else that of --manifest, or kmeans")
    parser.add_argument("--model", help="id or folder of the codec or of the semantic encoder")
    parser.add_argument("--semantic", default="whisper", help="k-means: wavlm, s3prl or whisper")
    parser.add_argument(
        "--layer", type=_layer, default="last", help="k-means: hidden state: mean, last, a number"
    )
    parser.add_argument("--units", type=int, help="k-means: number of tokens, else 256")
    parser.add_argument("--fit_on", type=int, help="k-means: utterances learned on, else 500")
    parser.add_argument("--seed", type=int, help="k-means: draw and start, else 0")
    parser.add_argument("--manifest", help="reuse the tokenizer of this token set's manifest.json")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--split",
        metavar="i/n",
        help="do every n-th utterance only (array jobs); a run without it merges what they did",
    )


def run(args: argparse.Namespace) -> int:
    print(extract(**{**vars(args), "device": device_of(args.device)}))
    return 0


def _layer(text: str):
    return int(text) if text.lstrip("-").isdigit() else text
