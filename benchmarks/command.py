"""What the benchmarks share: options, presets, the printed and written report."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from espnet_hybridse.cli.arguments import device_of
from espnet_hybridse.fileio.lists import write_json
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.training.config import ConfigError, check_arguments, read_yaml

CONF = (Path(__file__).resolve().parents[1] / "conf", Path("conf"))
"""Where the presets are: beside the package, or in the working directory."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every benchmark."""
    parser.add_argument("--repeat", type=int, default=3, help="timed calls; the fastest counts")
    parser.add_argument(
        "--limit_s", type=float, default=30.0, help="no further timed calls after so many seconds"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of PyTorch on CPU; else its own choice")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")


class Report:
    """Prints every table as it is there and keeps the JSON file up to date with it.

    Args:
        given: settings to put into the file.
    """

    def __init__(self, args: argparse.Namespace, given: dict[str, Any], device: torch.device):
        facts = describe(device)
        print("\n".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
        self.file, self.given = args.json, {**given, **facts}
        self.results: list[dict[str, Any]] = []

    def table(self, config: str, title: str, rows: list[dict[str, Any]], columns: dict) -> None:
        print(f"\n{title}\n\n{Table.of(rows, columns).markdown()}", flush=True)
        self.results += [{"config": config, **row} for row in rows]
        if self.file:  # again after every table: a long run can be stopped
            write_json(self.file, {**self.given, "rows": self.results})

    def end(self, legend: str) -> int:
        print(f"\n{legend}")
        if self.file:
            print(f"\nwritten: {self.file}")
        return 0


def configs(args: argparse.Namespace, file: str) -> dict[str, Path]:
    """Name of each table -> training YAML."""
    if args.config:
        return {str(path): path for path in args.config}
    return {name: preset_config(name, file) for name in args.preset}


def preset_config(preset: str, file: str) -> Path:
    """The training YAML of a preset, e.g. its train_disc.yaml.

    Raises:
        ConfigError: there is none of that name.
    """
    found = {}
    for conf in reversed(CONF):
        found.update({path.parent.name: path for path in sorted(conf.glob(f"*/{file}"))})
    if preset not in found:
        accepted = f"one of {', '.join(sorted(found))}" if found else "here, nor is any other"
        raise ConfigError(f"--preset {preset} is not {accepted}; --config takes a {file}")
    return found[preset]


def separator_conf(path: Path, name: str, build: type) -> dict[str, Any]:
    """The separator's options in a training YAML.

    Raises:
        ConfigError: no such file, an unknown key, or another separator.
    """
    config = read_yaml(path)
    if config.get("separator") != name:
        raise ConfigError(f"{path}: separator {config.get('separator')!r}; expected {name!r}")
    own = config.get("separator_conf") or {}
    check_arguments(build, own, f"{path}: separator_conf")
    return own


def run_script(
    name: str,
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    report_of: Callable[[argparse.Namespace, torch.device], int],
    argv: Sequence[str] | None = None,
) -> int:
    """Run one benchmark; wrong options and configs print one line and return 2."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        device = torch.device(device_of(args.device))
        if args.threads:
            torch.set_num_threads(args.threads)
        return report_of(args, device)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
