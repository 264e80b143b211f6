"""`hybridse report`: one page of everything that is known of scored systems."""

import argparse
import shlex
import sys
from pathlib import Path

from espnet_hybridse.cli.arguments import pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--scores",
        nargs="+",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="systems that 'hybridse score' has scored; the unprocessed input is called Noisy. "
        "Once for each test set",
    )
    parser.add_argument(
        "--meta",
        type=Path,
        action="append",
        default=[],
        metavar="TSV",
        help="meta.tsv of the test set, for breakdowns; of several sets one for each, in order",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME", help="names of several test sets"
    )
    parser.add_argument(
        "--losses", nargs="+", default=[], metavar="NAME=EXP", help="loss curves of experiments"
    )
    parser.add_argument(
        "--cores", type=int, help="that each of --losses had: its hours become core-hours"
    )
    parser.add_argument("--uids", nargs="+", default=[], help="utterances to show and hear")
    parser.add_argument("--pictures", type=int, default=5, help="else so many of them")
    parser.add_argument("--model", type=Path, help="a trained hybrid: its branches and mask")
    parser.add_argument("--wavs", type=Path, help="wav.scp for --model; else that of Noisy")
    parser.add_argument("--clean", type=Path, help="spk1.scp for --model; else that of Noisy")
    parser.add_argument("--max_utts", type=int, help="--model on the first so many of the list")
    parser.add_argument("--device", default="cpu", help="of --model: auto, cpu, cuda or cuda:N")
    parser.add_argument("--title", default="Speech enhancement results", help="of the page")
    parser.add_argument(
        "--fact", nargs="+", default=[], metavar="NAME=VALUE", help="config, seed … to print"
    )


def run(args: argparse.Namespace) -> int:
    from espnet_hybridse.report.write import Request, write_report

    for name in ("pictures", "max_utts", "cores"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value} must be at least 1")
    sets = test_sets(args)
    command = shlex.join(["hybridse", *sys.argv[1:]])
    request = Request(
        args.out,
        sets,
        folders(args.losses, "--losses Dis.=exp/disc_mini"),
        args.cores,
        args.uids,
        args.pictures,
        {**pairs(args.fact, "--fact seed=0"), "command": command},
        look(args, sets[0].scores if sets else {}) if args.model else None,
        args.title,
    )
    print("\n".join(f"written: {path}" for path in write_report(request)))
    return 0


def test_sets(args: argparse.Namespace) -> list:
    """What --scores, --meta and --set say together.

    Raises:
        ValueError: the sets cannot be told which meta.tsv or name is theirs.
    """
    from espnet_hybridse.report.write import EvaluationSet

    count = len(args.scores)
    for name, given, least in (("meta", args.meta, 0), ("set", args.set, count > 1)):
        if len(given) != count and (given or least):
            raise ValueError(
                f"--{name} is given {len(given)} times and --scores {count} times; each test set "
                f"needs its own, in the same order"
            )
    metas, names = args.meta or [None] * count, args.set or [""] * count
    scores = [folders(words, "--scores Noisy=exp/noisy/scores_test") for words in args.scores]
    return [EvaluationSet(*one) for one in zip(scores, metas, names, strict=True)]


def folders(words: list[str], example: str) -> dict[str, Path]:
    """NAME=DIR words as paths."""
    return {name: Path(folder) for name, folder in pairs(words, example).items()}


def look(args: argparse.Namespace, scores: dict[str, Path]):
    """What the hybrid does with its branches."""
    from espnet_hybridse.cli.arguments import device_of
    from espnet_hybridse.inference.enhancer import Enhancer
    from espnet_hybridse.report.hybrid import look_at_branches
    from espnet_hybridse.scoring.do_no_harm import BASELINE
    from espnet_hybridse.scoring.table import settings

    wavs, clean = args.wavs, args.clean
    if wavs is None and BASELINE in scores:
        known = settings(scores[BASELINE])
        wavs = Path(known["inf_scp"])
        clean = clean or (Path(known["ref_scp"]) if known["ref_scp"] else None)
    if wavs is None:
        raise ValueError("--model needs --wavs, or --scores Noisy=DIR, whose files it then takes")
    enhancer = Enhancer.from_pretrained(args.model, device=device_of(args.device))
    wanted = (args.uids, args.pictures, args.max_utts)
    return look_at_branches(enhancer, wavs, clean, args.out, *wanted)
