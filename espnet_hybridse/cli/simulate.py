"""`hybridse simulate`: draw the parameters of a set and render it."""

import argparse
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import write_list
from espnet_hybridse.fileio.shards import Shard
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.simulation.config import DEFAULT, NATIVE, SimulationConfig, load_config
from espnet_hybridse.simulation.demo import write_demo
from espnet_hybridse.simulation.dry_lists import write_dry_lists
from espnet_hybridse.simulation.executors import EXECUTORS
from espnet_hybridse.simulation.generated import write_generated
from espnet_hybridse.simulation.meta import Sample, iter_meta
from espnet_hybridse.simulation.parameters import MAX_SEED, audio_path, sample_parameters
from espnet_hybridse.simulation.provenance import Origin, read_origin
from espnet_hybridse.simulation.render import render_set, write_parameters
from espnet_hybridse.simulation.rooms import render_rooms
from espnet_hybridse.simulation.sources import Sources, scan_speech

FORMATS = ("flac", "wav")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sources", help="source folder, such as data/train or the challenge's train_sources"
    )
    parser.add_argument("--out", required=True, help="set to write, such as dump/raw/train")
    parser.add_argument(
        "--config", help=f"YAML; else {DEFAULT}, or the challenge's values where there is none"
    )
    parser.add_argument("--num", type=int, default=1000, help="number of samples")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument("--nj", type=int, default=1, help="processes, or workers of a Dask cluster")
    parser.add_argument("--rates", type=int, nargs="+", help="only these rates in Hz")
    parser.add_argument(
        "--coverage", action="store_true", help="cycle through rates and distortions (test sets)"
    )
    parser.add_argument(
        "--ogg_encoders",
        nargs="+",
        help="codecs drawn for ogg: vorbis opus; the challenge validates on vorbis only",
    )
    parser.add_argument("--format", choices=FORMATS, default="flac", help="16-bit audio files")
    parser.add_argument("--params_only", action="store_true", help="write meta.tsv and stop")
    parser.add_argument(
        "--meta", help="render this meta.tsv, ours or the challenge's, instead of drawing one"
    )
    parser.add_argument(
        "--split",
        metavar="i/n",
        help="render every n-th sample only (array jobs); a run without it completes the set",
    )
    parser.add_argument("--executor", choices=EXECUTORS, default="processes", help="what renders")
    parser.add_argument(
        "--scheduler",
        help="for --executor dask: tcp://host:port, or slurm (dask-jobqueue and its "
        "jobqueue.yaml); else a cluster of --nj workers is started here",
    )
    parser.add_argument(
        "--lists_only",
        action="store_true",
        help="no noise: lists of the dry speech itself, for preprocessor: urgent_dynamic",
    )
    parser.add_argument("--demo", metavar="FILE", help="a file per distortion of FILE, a picture")
    parser.add_argument(
        "--make_rirs",
        type=int,
        metavar="N",
        help="N responses of shoebox rooms (3-10 x 2.5-8 x 2.4-4 m, RT60 0.15-0.9 s, 0.4-4 m from "
        "the microphone) and their rir.scp",
    )
    parser.add_argument(
        "--make_wind", type=int, metavar="N", help="N ten-second wind noises and their wind.scp"
    )


def run(args: argparse.Namespace) -> int:
    check_options(args)
    if args.demo:
        for path in write_demo(args.demo, args.out, args.seed):
            print(path)
        return 0
    if args.make_rirs is not None or args.make_wind is not None:
        return make_sources(args)
    if not args.sources:
        raise ValueError("--sources is needed: a folder with speech.scp, noise.scp, …")
    sources = Sources.from_folder(args.sources)
    if args.lists_only:
        pool = scan_speech(sources, load_config(args.config))
        count, left_out = write_dry_lists(sources, pool, args.out)
        print(f"{args.out}: lists of {count} utterances, {left_out} quarantined")
        return 0
    if args.meta:
        origin = Origin.given(args.sources, args.format, args.meta)
    else:
        config = apply_options(load_config(args.config), args)
        origin = Origin.drawn(args.sources, args.format, args.num, args.seed, config)
    bad: list[tuple[str, str, str]] = []
    if not (args.split and _parameters_are_there(args.out, origin)):
        if args.meta:
            samples = place_audio(args.meta, Path(args.out), f".{args.format}")
        else:
            pool = scan_speech(sources, config)
            bad = pool.bad
            logging.info(
                "speech: %d usable, %d bad, %d outside %g-%g s",
                len(pool.seconds),
                len(bad),
                pool.outside,
                config.min_seconds,
                config.max_seconds,
            )
            suffix = f".{args.format}"
            samples = sample_parameters(
                sources, config, args.num, args.seed, args.out, pool, suffix
            )
        count = write_parameters(samples, args.out)
        origin.write(args.out)
        if args.params_only:
            print(f"{args.out}/meta.tsv: parameters of {count} samples")
            return 0
    options = {"split": args.split, "executor": args.executor, "scheduler": args.scheduler}
    print(f"{args.out}: {render_set(sources, args.out, args.nj, bad, **options)}")
    return 0


def check_options(args: argparse.Namespace) -> None:
    """Refuse what could not be done, before anything that is there already is touched.

    Raises:
        ValueError: names the option, what it accepts and the fix.
    """
    if args.num < 1 or args.nj < 1 or not 0 <= args.seed <= MAX_SEED:
        raise ValueError(
            f"--num {args.num} --nj {args.nj} --seed {args.seed}: "
            f"num and nj must be 1 or more, seed 0 to {MAX_SEED}"
        )
    for name in ("make_rirs", "make_wind"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise ValueError(f"--{name} {number}; accepted: 1 or more files")
    Shard(args.split)
    if args.split and args.params_only:
        raise ValueError(
            f"--params_only --split {args.split}: parameters are those of the whole set; leave "
            "--split to the jobs that render it"
        )
    if args.scheduler and args.executor != "dask":
        raise ValueError(f"--scheduler {args.scheduler} goes with --executor dask")
    if len(Path(args.out).name.split()) > 1:
        raise ValueError(
            f"--out {args.out!r}: the folder's name begins every utterance's, which has no blanks; "
            "name it without"
        )
    there = next(path for path in (Path(args.out), *Path(args.out).parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"--out {args.out}: {there} is a file; name a folder to write to")


def _parameters_are_there(out: str, origin: Origin) -> bool:
    """Whether array jobs find a meta.tsv that was drawn as they ask for.

    Raises:
        ValueError: it was drawn otherwise: a job must not change it while its neighbours render.
    """
    recorded = read_origin(out)
    if recorded is None or not (Path(out) / "meta.tsv").is_file():
        return False
    if recorded != origin:
        raise ValueError(
            f"--split: {out} was begun with other options ({recorded.differences(origin)}); give "
            "those, or write new parameters with --params_only before the jobs start"
        )
    return True


def make_sources(args: argparse.Namespace) -> int:
    """--make_rirs and --make_wind: audio below --out, and a list of it."""
    out = Path(args.out)
    with worker_pool(args.nj) as pool:
        if args.make_rirs is not None:
            folder = out / f"rirs_seed{args.seed}"
            rooms = render_rooms(folder, args.make_rirs, args.seed, pool)
            write_sources(out / "rir.scp", [path for room in rooms for path in room])
        if args.make_wind is not None:
            folder = out / f"wind_seed{args.seed}"
            write_sources(
                out / "wind.scp",
                write_generated("wind", args.make_wind, folder, args.seed, pool),
            )
    return 0


def write_sources(list_path: Path, paths: list[Path]) -> None:
    """Write a source list of files at 48 kHz."""
    write_list(list_path, {path.stem: f"{RATES[-1]} {path.resolve()}" for path in paths})
    print(f"{list_path}: {len(paths)} files")


def place_audio(meta: str, out: Path, suffix: str) -> Iterator[Sample]:
    """The samples of another meta.tsv, their audio pointed at this set's folders."""
    for index, sample in enumerate(iter_meta(meta)):
        yield dataclasses.replace(
            sample,
            noisy_path=audio_path(out, "noisy", index, sample.id, suffix),
            clean_path=audio_path(out, "clean", index, sample.id, suffix),
        )


def apply_options(config: SimulationConfig, args: argparse.Namespace) -> SimulationConfig:
    """The config with the command line's choices in it."""
    if args.rates:
        weights = {} if config.rates == NATIVE else config.rates
        rates = {fs: weights.get(fs, 1.0) for fs in args.rates}
        config = dataclasses.replace(config, rates=rates)
    if args.coverage:
        config = dataclasses.replace(config, coverage=True)
    if args.ogg_encoders:
        codec = dataclasses.replace(config.codec, ogg_encoders=tuple(args.ogg_encoders))
        config = dataclasses.replace(config, codec=codec)
    return config
