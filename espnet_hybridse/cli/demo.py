"""`hybridse demo`: a page in the browser for one recording or a microphone."""

import argparse
from pathlib import Path

from espnet_hybridse.cli.arguments import device_of

MAX_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The page is reached from this machine alone, and recordings stay on it, unless --host or "
        "--share say otherwise. Ctrl-C ends it and deletes what it made."
    )
    parser.add_argument(
        "--model",
        help="folder, zip or OWNER/NAME of a trained model; else the small one of the repository",
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--examples",
        type=Path,
        help="folder with a wav.scp or audio; else the recipe's test set, or three that come along",
    )
    parser.add_argument(
        "--max_mb", type=float, default=100.0, help="largest file in MB (10^6 bytes)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, help="else the first free one from 7860")
    parser.add_argument(
        "--share", action="store_true", help="a public address through gradio's servers, for 72 h"
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    if args.port is not None and not 0 < args.port <= MAX_PORT:
        raise ValueError(f"--port {args.port} must lie in 1 to {MAX_PORT}")
    # Here: gradio takes seconds to import, and wrong options are told before.
    device = device_of(args.device)
    from espnet_hybridse.demo.examples import find_examples
    from espnet_hybridse.demo.page import serve

    serve(
        args.model,
        device=device,
        examples=find_examples(args.examples),
        max_mb=args.max_mb,
        host=args.host,
        port=args.port,
        share=args.share,
        open_browser=args.open,
    )
    return 0
