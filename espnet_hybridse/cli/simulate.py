"""`hybridse simulate`: draw the parameters of a set and render it."""

import argparse
import dataclasses
import logging
from pathlib import Path

from espnet_hybridse.simulation.config import SimulationConfig, load_config
from espnet_hybridse.simulation.meta import read_meta
from espnet_hybridse.simulation.parameters import sample_parameters
from espnet_hybridse.simulation.render import render, write_parameters
from espnet_hybridse.simulation.sources import Sources, scan_speech


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sources", required=True, help="source folder, such as data/train")
    parser.add_argument("--out", required=True, help="set to write, such as dump/raw/train")
    parser.add_argument("--config", default="conf/simulation.yaml", help="simulation.yaml")
    parser.add_argument("--num", type=int, default=1000, help="number of samples")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--rates", type=int, nargs="+", help="only these rates in Hz")
    parser.add_argument(
        "--coverage", action="store_true", help="cycle through rates and distortions (test sets)"
    )
    parser.add_argument(
        "--ogg_encoders",
        nargs="+",
        help="codecs drawn for ogg: vorbis opus; the challenge validates on vorbis only",
    )
    parser.add_argument("--params_only", action="store_true", help="write meta.tsv and stop")
    parser.add_argument("--meta", help="render this meta.tsv instead of drawing one")


def run(args: argparse.Namespace) -> int:
    if args.num < 1 or args.nj < 1 or args.seed < 0:
        raise ValueError(
            f"--num {args.num} --nj {args.nj} --seed {args.seed}: "
            "num and nj must be 1 or more, seed 0 or more"
        )
    sources = Sources.from_folder(args.sources)
    bad = []
    if args.meta:
        samples = place_audio(read_meta(args.meta), Path(args.out))
    else:
        config = apply_options(load_config(args.config), args)
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
        samples = sample_parameters(sources, config, args.num, args.seed, args.out, pool)
    if args.params_only:
        write_parameters(samples, args.out)
        print(f"{args.out}/meta.tsv: parameters of {len(samples)} samples")
        return 0
    print(f"{args.out}: {render(samples, sources, args.out, args.nj, bad)}")
    return 0


def place_audio(samples, out: Path):
    """Point samples of another meta.tsv at this set's folders."""
    return [
        dataclasses.replace(
            sample,
            noisy_path=str(out / "noisy" / f"{sample.id}.flac"),
            clean_path=str(out / "clean" / f"{sample.id}.flac"),
        )
        for sample in samples
    ]


def apply_options(config: SimulationConfig, args: argparse.Namespace) -> SimulationConfig:
    """The config with the command line's choices in it."""
    if args.rates:
        rates = {fs: config.rates.get(fs, 1.0) for fs in args.rates}
        config = dataclasses.replace(config, rates=rates)
    if args.coverage:
        config = dataclasses.replace(config, coverage=True)
    if args.ogg_encoders:
        codec = dataclasses.replace(config.codec, ogg_encoders=tuple(args.ogg_encoders))
        config = dataclasses.replace(config, codec=codec)
    return config
