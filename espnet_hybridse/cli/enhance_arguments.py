"""What `hybridse enhance` can be told: options, their defaults and what becomes of them."""

import argparse
from pathlib import Path
from typing import Any

from espnet_hybridse.fileio.formats import WRITTEN_SUFFIXES
from espnet_hybridse.fusion.safety import FALLBACKS
from espnet_hybridse.generative.decode_weights import DTYPES as DECODE_DTYPES
from espnet_hybridse.inference.files.output import PEAKS
from espnet_hybridse.inference.gate import GATES
from espnet_hybridse.inference.options import DTYPES
from espnet_hybridse.model.branch import BRANCHES

EXIT_CODES = (
    "Exit codes: 0: at least one file is enhanced or was there already, bad ones are in "
    "OUT/quarantine.tsv; 1: none is; 2: wrong use, no such model, or OUT cannot be written; "
    "3: with --strict, a file was quarantined; 130: interrupted. After a kill, a full disk or an "
    "interrupt the same command goes on where it stopped."
)
DEFAULTS = {
    "decode_dtype": None,
    "safety": None,
    "branch": None,
    "dtype": None,
    "mix": 1.0,
    "attn_limit_db": None,
    "gate": "auto",
    "segment": None,
    "overlap": None,
    "lookahead": 0.0,
    "shared_mask": False,
    "subtype": None,
    "peaks": "clip",
    "loudness": None,
}
"""Options that change the output: others make what is there stale."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXIT_CODES
    kinds = "audio file, folder, 'pattern', wav.scp or - (stdin)"
    parser.add_argument("sources", type=Path, metavar="IN", nargs="+", help=kinds)
    parser.add_argument("out", type=Path, metavar="OUT", help="file or folder to write, or -")
    parser.add_argument(
        "--model",
        help="folder, zip or OWNER/NAME of a trained model; else the small one of the repository",
    )
    parser.add_argument("--branch", choices=BRANCHES, help="of a hybrid; else the hybrid")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--batch",
        type=int,
        help="pieces of a long recording, or short files, at once; else 8, but 1 for Dis. on a CPU",
    )
    parser.add_argument("--dtype", choices=DTYPES, help="of the networks; else as configured")
    parser.add_argument(
        "--decode_dtype",
        choices=DECODE_DTYPES,
        help="token decoding of Gen.; else as configured. int8 is the fastest on CPU",
    )
    parser.add_argument(
        "--segment",
        type=float,
        help="seconds processed at once of long audio; else those of the training's crops, or 10",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        help="seconds of cross-fade between segments; else 1, or a sixth of a short segment",
    )
    parser.add_argument(
        "--lookahead",
        type=float,
        default=0.0,
        help="seconds that a segment hears beyond each end of its cross-fades",
    )
    parser.add_argument(
        "--shared_mask",
        action="store_true",
        help="of several channels: one gain for all, which keeps the places of sounds",
    )
    parser.add_argument(
        "--mix", type=float, default=1.0, help="0 to 1: share of the enhanced signal"
    )
    parser.add_argument(
        "--attn_limit_db",
        type=float,
        help="most that anything is taken down by, in dB; else no limit",
    )
    parser.add_argument(
        "--gate",
        choices=GATES,
        default="auto",
        help="auto: each file takes as much of the enhancement as its measures ask for, clean "
        "speech none; off: all of it",
    )
    parser.add_argument(
        "--safety",
        type=float,
        help="0 to 1, of a hybrid: fall back where its branches contradict each other",
    )
    parser.add_argument(
        "--safety_to", choices=FALLBACKS, default="disc", help="where --safety, if given, goes"
    )
    parser.add_argument(
        "--suffix", choices=WRITTEN_SUFFIXES, help="ending of the results; else the sources'"
    )
    parser.add_argument("--subtype", help="sample format, as PCM_16; else the sources'")
    parser.add_argument(
        "--peaks",
        choices=PEAKS,
        default="clip",
        help="above full scale: clip and count, or scale the whole file down",
    )
    parser.add_argument(
        "--loudness",
        type=loudness,
        metavar="LUFS|keep",
        help="loudness of each result (ITU-R BS.1770), such as -23, or the source's; else as it is",
    )
    parser.add_argument(
        "--noise_out",
        type=Path,
        metavar="OUT",
        help="file or folder for what was taken away",
    )
    parser.add_argument(
        "--max_utts", type=int, help="a random sample of so many files, always the same"
    )
    parser.add_argument(
        "--split",
        metavar="i/n",
        help="do every n-th file only (array jobs, a GPU each); a run without it then joins their "
        "records and does what they left",
    )
    parser.add_argument("--json", action="store_true", help="a JSON line per file, then a summary")
    parser.add_argument(
        "--report",
        action="store_true",
        help="a table of the files: gain, gate, clipped samples, seconds without speech",
    )
    parser.add_argument("--strict", action="store_true", help="exit 3 if a file was quarantined")
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="skip what is there already (the default)"
    )
    again.add_argument(
        "--overwrite", action="store_true", help="enhance again what is there already"
    )


def loudness(text: str) -> float | str:
    """`--loudness`."""
    if text == "keep":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected LUFS, such as -23, or keep") from None


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about :class:`Enhancer`."""
    names = (
        "device",
        "batch",
        "decode_dtype",
        "safety",
        "safety_to",
        "dtype",
        "mix",
        "attn_limit_db",
        "gate",
        "shared_mask",
        "cpu_fallback",
    )
    options: dict[str, Any] = {name: getattr(args, name) for name in names}
    seconds = {f"{name}_s": getattr(args, name) for name in ("segment", "overlap", "lookahead")}
    return {**options, **seconds}
