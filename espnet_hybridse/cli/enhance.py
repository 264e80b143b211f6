"""`hybridse enhance`: files, folders and lists; stages 7 and 9 of the recipe."""

import argparse
from pathlib import Path
from typing import Dict

from espnet_hybridse.device import device_of
from espnet_hybridse.fusion.safety import FALLBACKS
from espnet_hybridse.generative.step_weights import DTYPES
from espnet_hybridse.inference.batch import (
    WEIGHTS_STAMP,
    Job,
    enhance_file,
    enhance_files,
    plan_jobs,
    write_scp,
)
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.loading import weight_files
from espnet_hybridse.lists import atomic_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN", help="audio file, folder or wav.scp")
    parser.add_argument("out", type=Path, metavar="OUT", help="file or folder to write")
    parser.add_argument("--model", type=Path, required=True, help="directory of a trained model")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--batch",
        type=int,
        help="pieces of a long recording at once; else 1 for Dis., 8 for others",
    )
    parser.add_argument(
        "--decode_dtype",
        choices=DTYPES,
        help="token decoding of Gen.; else as configured. int8 is the fastest on CPU",
    )
    parser.add_argument(
        "--safety",
        type=float,
        help="0 to 1, of a hybrid: fall back where its branches contradict each other",
    )
    parser.add_argument(
        "--safety_to", choices=FALLBACKS, default="disc", help="where --safety, if given, goes"
    )
    parser.add_argument("--max_utts", type=int, help="only the first so many of the list")
    parser.add_argument(
        "--overwrite", action="store_true", help="enhance again what is there already"
    )


def run(args: argparse.Namespace) -> int:
    for name in ("nj", "max_utts"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value} must be at least 1")
    args.device = str(device_of(args.device))
    weights = weight_files(args.model)
    if args.source.resolve() == args.out.resolve():
        raise ValueError(f"{args.out}: IN and OUT are the same; the input would be lost")
    jobs = plan_jobs(args.source, args.out, args.max_utts)
    if len(jobs) == 1 and args.source.is_file() and args.source.suffix != ".scp":
        return enhance_one(args, jobs[0])
    # Outputs of other weights or settings are stale; the stamp names those in use.
    stamp = args.out / WEIGHTS_STAMP
    identity = "\n".join(f"{path.resolve()} {path.stat().st_mtime_ns}" for path in weights)
    for name in ("decode_dtype", "safety"):
        if getattr(args, name) is not None:
            identity += f"\n{name} {getattr(args, name)} {args.safety_to}"
    stale = stamp.is_file() and stamp.read_text() != identity
    if args.overwrite or stale:
        for job in jobs:
            job.target.unlink(missing_ok=True)
    with atomic_path(stamp) as tmp:
        tmp.write_text(identity)
    log = args.out / "quarantine.tsv"
    summary = enhance_files(args.model, jobs, nj=args.nj, log=log, **options_of(args))
    if args.source.suffix == ".scp":
        write_scp(jobs, args.out / "spk1.scp")
    print(f"{args.out}: {summary}")
    return 0 if summary.done or summary.skipped else 1


def enhance_one(args: argparse.Namespace, job: Job) -> int:
    """One file is always enhanced anew, and what is wrong with it is printed."""
    seconds, reason = enhance_file(Enhancer.from_pretrained(args.model, **options_of(args)), job)
    print(f"{job.source}: {reason}" if reason else f"{job.target}: {seconds:.2f} s enhanced")
    return 1 if reason else 0


def options_of(args: argparse.Namespace) -> Dict[str, object]:
    """What the command line says about :class:`Enhancer`."""
    names = ("device", "batch", "decode_dtype", "safety", "safety_to")
    return {name: getattr(args, name) for name in names}
