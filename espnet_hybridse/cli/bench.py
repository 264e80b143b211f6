"""`hybridse bench`: speed and memory beside the peers, measured in one run."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List

import torch

from espnet_hybridse.audio import RATES
from espnet_hybridse.bench import disc
from espnet_hybridse.bench.disc_systems import SYSTEMS
from espnet_hybridse.bench.machine import describe, device_of
from espnet_hybridse.bench.table import markdown
from espnet_hybridse.config import ConfigError, check_arguments, read_yaml
from espnet_hybridse.discriminative.tfgridnet_sfi import TFGridNetSFI
from espnet_hybridse.lists import write_json

CONF = (Path(__file__).resolve().parents[2] / "conf", Path("conf"))
"""Where the presets are: beside the package, or in the working directory."""
SECONDS = {"cpu": 0.25, "cuda": 4.0}
"""Audio in each call by default: on two cores all of it then takes less than ten minutes."""
OPTIONAL = ("ours_compile",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    text = "TF-GridNet-SFI beside ESPnet's TFGridNetV3 and the challenge baseline's BSRNN"
    form = argparse.ArgumentDefaultsHelpFormatter
    add_disc(what.add_parser("disc", help=text, description=text, formatter_class=form))


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every benchmark."""
    parser.add_argument("--repeat", type=int, default=3, help="timed calls; the fastest counts")
    parser.add_argument(
        "--limit_s", type=float, default=30.0, help="no further timed calls after so many seconds"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of PyTorch on CPU; else its own choice")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")


def add_disc(parser: argparse.ArgumentParser) -> None:
    keys = " ".join(SYSTEMS)
    parser.add_argument("--preset", nargs="+", default=["paper", "fast"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_disc.yaml files, no preset"
    )
    parser.add_argument(
        "--rates", nargs="+", type=int, default=[16000, 48000], metavar="HZ", help=f"of {RATES}"
    )
    parser.add_argument(
        "--seconds", type=float, help=f"of audio in each call; else {SECONDS['cpu']} on CPU, "
        f"{SECONDS['cuda']} on a GPU"
    )
    parser.add_argument("--batch", type=int, default=1, help="utterances in each call")
    parser.add_argument("--systems", nargs="+", metavar="S", help=f"some of {keys}")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--skip_training", action="store_true", help="inference only")
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    device = device_of(args.device)
    systems = args.systems or [key for key in SYSTEMS if key not in OPTIONAL]
    if args.compile and "ours_compile" not in systems:
        systems.append("ours_compile")
    settings = disc.Settings(
        device,
        args.rates,
        systems,
        SECONDS[device.type] if args.seconds is None else args.seconds,
        args.batch,
        args.repeat,
        args.limit_s,
        not args.skip_training,
        args.threads,
    )
    if args.config:
        options = {str(path): separator_conf(path) for path in args.config}
    else:
        options = {name: separator_conf(preset_config(name)) for name in args.preset}
    if args.threads:
        torch.set_num_threads(args.threads)
    facts = describe(device)
    print("\n".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
    results: List[Dict[str, Any]] = []
    for name, own in options.items():
        for rows in disc.run(own, settings):
            print(f"\n{name}, {disc.title(rows, settings)}\n")
            rows = disc.as_dicts(rows)
            print(markdown(rows, disc.COLUMNS), flush=True)
            results += [{"config": name, **row} for row in rows]
            if args.json:  # again after every table: a long run can be stopped
                given = {**asdict(settings), **facts, "separator_conf": options}
                write_json(args.json, {**given, "rows": results})
    print(f"\n{disc.LEGEND}")
    if args.json:
        print(f"\nwritten: {args.json}")
    return 0


def preset_config(preset: str) -> Path:
    """The train_disc.yaml of a preset.

    Raises:
        ConfigError: there is none of that name.
    """
    found = {}
    for conf in reversed(CONF):
        found.update({path.parent.name: path for path in sorted(conf.glob("*/train_disc.yaml"))})
    if preset not in found:
        accepted = f"one of {', '.join(sorted(found))}" if found else "here, nor is any other"
        raise ConfigError(f"--preset {preset} is not {accepted}; --config takes a train_disc.yaml")
    return found[preset]


def separator_conf(path: Path) -> Dict[str, Any]:
    """The separator's options in a training YAML of the discriminative branch.

    Raises:
        ConfigError: no such file, an unknown key, or another separator.
    """
    config = read_yaml(path)
    if config.get("separator") != "tfgridnet_sfi":
        raise ConfigError(
            f"{path}: separator {config.get('separator')!r}; bench disc takes 'tfgridnet_sfi'"
        )
    own = config.get("separator_conf") or {}
    check_arguments(TFGridNetSFI, own, f"{path}: separator_conf")
    return own
