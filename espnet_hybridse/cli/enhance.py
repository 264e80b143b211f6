"""`hybridse enhance`: files, folders, patterns and lists."""

import argparse
import contextlib
import json
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TextIO

import soundfile

from espnet_hybridse.cli.arguments import device_of
from espnet_hybridse.cli.enhance_arguments import DEFAULTS, add_arguments, options_of
from espnet_hybridse.cli.standard_streams import STANDARD, from_input, to_output
from espnet_hybridse.fileio.decode import is_there
from espnet_hybridse.fileio.formats import keeps_length, shown
from espnet_hybridse.fileio.shards import Shard
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.files.jobs import Job, plan_jobs, with_noise, write_scp
from espnet_hybridse.inference.files.live import LiveInput, live_format, send
from espnet_hybridse.inference.files.many_files import EnhanceSummary, enhance_files
from espnet_hybridse.inference.files.one_file import Result
from espnet_hybridse.inference.files.output import Output
from espnet_hybridse.inference.files.record import NAME as RECORD
from espnet_hybridse.inference.files.record import read_record, table
from espnet_hybridse.inference.files.resume import identity_of, resumed, take_in_shards
from espnet_hybridse.model.find import find_model

__all__ = ["add_arguments", "run"]


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
    args: argparse.Namespace, jobs: list[Job], weights: list[Path], others: Counter, shard: Shard
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
    results: list[Result] = []
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


def print_table(args: argparse.Namespace, rows: list[dict[str, object]]) -> None:
    """The record as `--report` shows it."""
    print(table(rows).markdown(), file=args.messages)


def print_result(result: Result, stream: TextIO) -> None:
    """One file's line of `--json`."""
    print(json.dumps(result.as_dict(), ensure_ascii=False), file=stream, flush=True)


def print_summary(args: argparse.Namespace, summary: EnhanceSummary) -> None:
    """The last line."""
    text = json.dumps({"summary": summary.as_dict()}) if args.json else f"{args.out}: {summary}"
    print(shown(text), file=args.messages)
