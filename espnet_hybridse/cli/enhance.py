"""`hybridse enhance`: files, folders, patterns and lists; stages 7 and 9 of the recipe."""

import argparse
import contextlib
import json
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, TextIO

import soundfile

from espnet_hybridse.cli.arguments import device_of
from espnet_hybridse.cli.standard_streams import STANDARD, from_input, to_output
from espnet_hybridse.fileio.decode import is_there
from espnet_hybridse.fileio.formats import WRITTEN_SUFFIXES, keeps_length, shown
from espnet_hybridse.fileio.shards import Shard
from espnet_hybridse.fusion.safety import FALLBACKS
from espnet_hybridse.generative.decode_weights import DTYPES as DECODE_DTYPES
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.files.jobs import Job, plan_jobs, with_noise, write_scp
from espnet_hybridse.inference.files.live import LiveInput, live_format, send
from espnet_hybridse.inference.files.many_files import EnhanceSummary, enhance_files
from espnet_hybridse.inference.files.one_file import Result
from espnet_hybridse.inference.files.output import PEAKS, Output
from espnet_hybridse.inference.files.record import NAME as RECORD
from espnet_hybridse.inference.files.record import read_record, table
from espnet_hybridse.inference.files.resume import identity_of, resumed, take_in_shards
from espnet_hybridse.inference.gate import GATES
from espnet_hybridse.inference.options import DTYPES
from espnet_hybridse.model.branch import BRANCHES
from espnet_hybridse.model.find import find_model

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
        help="seconds of cross-fade between segments; else 1, or a quarter of a short segment",
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


def run(args: argparse.Namespace) -> int:
    args.standard_output = sys.stdout
    args.messages = sys.stderr if args.out == STANDARD else sys.stdout
    # ESPnet prints when it is imported; standard output is for results alone.
    with contextlib.redirect_stdout(sys.stderr):
        return checked_run(args)


def checked_run(args: argparse.Namespace) -> int:
    """Check what was asked for, then do it."""
    for name in ("nj", "max_utts", "batch"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value} must be at least 1")
    known = soundfile.available_subtypes()
    if args.subtype is not None and args.subtype.upper() not in known:
        raise ValueError(f"--subtype {args.subtype} is not one of {', '.join(known)}")
    if args.subtype is not None and not keeps_length(args.subtype.upper()):
        raise ValueError(
            f"--subtype {args.subtype} fills a file up to a whole block; take PCM_16 or another"
        )
    args.cpu_fallback = args.device == "auto"
    args.output = Output(args.subtype and args.subtype.upper(), args.peaks, args.loudness)
    args.device = device_of(args.device)
    args.model = find_model(args.model, args.branch)
    weights = args.model.all_weights()
    try:
        first, several = args.sources[0], len(args.sources) > 1
        if STANDARD in (*args.sources, args.out):
            if several:
                raise ValueError("- stands for one file; name no other IN beside it")
            if first == args.out and not (args.output.twice or args.noise_out or args.suffix):
                return enhance_live(args)
            with from_input(first) as source, to_output(source, args) as out:
                return enhance_one(args, plan_jobs(source, out, suffix=args.suffix)[0])
        if args.out.resolve() in [source.resolve() for source in args.sources]:
            raise ValueError(f"{args.out}: IN and OUT are the same; the input would be lost")
        if several and args.out.is_file():
            raise ValueError(f"{args.out}: a file; of several IN, OUT is the folder they go to")
        others: Counter = Counter()
        jobs = plan_jobs(args.sources, args.out, args.max_utts, args.suffix, others)
        shard = Shard(args.split)
        if not shard.whole:
            if not several and is_there(first) and first.suffix != ".scp":
                raise ValueError("--split is for a list, a folder or a pattern, not for one file")
            jobs = shard.take(jobs)
        if args.noise_out is not None:
            jobs = with_noise(jobs, args.out, args.noise_out)
        if not several and is_there(first) and first.suffix != ".scp":
            return enhance_one(args, jobs[0])
        return enhance_all(args, jobs, weights, others, shard)
    except KeyboardInterrupt:
        print("hybridse enhance: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def enhance_all(
    args: argparse.Namespace, jobs: List[Job], weights: List[Path], others: Counter, shard: Shard
) -> int:
    """A folder, a pattern or a list, skipping what is there."""
    changed = {name: getattr(args, name) for name in DEFAULTS}
    changed = {name: value for name, value in changed.items() if value != DEFAULTS[name]}
    if "safety" in changed:
        changed["safety_to"] = args.safety_to
    identity = identity_of(weights, changed)
    with resumed(args.out, jobs, identity, args.overwrite, shard) as since:
        log = args.out / f"quarantine{shard.suffix}.tsv"
        report = partial(print_result, stream=args.messages) if args.json else None
        options = {**options_of(args), "output": args.output, "report": report}
        record = args.out / f"{Path(RECORD).stem}{shard.suffix}{Path(RECORD).suffix}"
        if shard.whole:
            take_in_shards(args.out, record, log)
        summary = enhance_files(
            args.model, jobs, nj=args.nj, log=log, record=record, since=since, **options
        )
        summary.others = others
        if shard.whole and any(source.suffix == ".scp" for source in args.sources):
            write_scp(jobs, args.out / "spk1.scp")
        if args.report:
            rows = read_record(record)
            print_table(args, [rows[shown(job.uid)] for job in jobs if shown(job.uid) in rows])
    print_summary(args, summary)
    if args.strict and summary.quarantined:
        return 3
    return 0 if summary.done or summary.skipped else 1


def enhance_one(args: argparse.Namespace, job: Job) -> int:
    """One file is always enhanced anew, and what is wrong with it is printed."""
    results: List[Result] = []
    args.nj, log = 1, None
    options = {**options_of(args), "output": args.output, "report": results.append}
    summary = enhance_files(args.model, [job], log=log, resume=False, **options)
    [result] = results
    if args.json:
        print_result(result, args.messages)
    elif result.reason is not None:
        print(shown(f"{job.source}: {result.reason}"), file=args.messages)
    if args.report:
        print_table(args, [result.as_dict()])
    print_summary(args, summary)
    return 1 if result.reason else 0


def enhance_live(args: argparse.Namespace) -> int:
    """Standard input to standard output, the first sound after one segment."""
    source = LiveInput(sys.stdin.buffer)
    info, out = source.info, args.standard_output.buffer
    container, subtype = live_format(info, args.output.subtype)
    # One piece at a time: a batch would wait for more of them.
    enhancer = Enhancer.from_pretrained(args.model, **{**options_of(args), "batch": 1})
    start = time.monotonic()
    written = send(out, enhancer.stream(source.blocks(), info.fs), info, container, subtype)
    took, seconds = time.monotonic() - start, written / info.fs
    rate = f", real-time factor {took / seconds:.3f}" if seconds else ""
    print(f"-: {seconds:.2f} s enhanced{rate}", file=args.messages)
    return 0 if written else 1


def print_table(args: argparse.Namespace, rows: List[Dict[str, object]]) -> None:
    """The record as `--report` shows it."""
    print(table(rows).markdown(), file=args.messages)


def print_result(result: Result, stream: TextIO) -> None:
    """One file's line of `--json`."""
    print(json.dumps(result.as_dict(), ensure_ascii=False), file=stream, flush=True)


def print_summary(args: argparse.Namespace, summary: EnhanceSummary) -> None:
    """The last line."""
    text = json.dumps({"summary": summary.as_dict()}) if args.json else f"{args.out}: {summary}"
    print(shown(text), file=args.messages)


def options_of(args: argparse.Namespace) -> Dict[str, object]:
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
    options: Dict[str, Optional[object]] = {name: getattr(args, name) for name in names}
    seconds = {f"{name}_s": getattr(args, name) for name in ("segment", "overlap", "lookahead")}
    return {**options, **seconds}
