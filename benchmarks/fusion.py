"""A training step of the fusion, without and with the learned quality term of eq. (4)."""

import argparse
import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.command import (
    Report,
    add_common,
    configs,
    run_script,
    separator_conf,
)
from benchmarks.measure import Call, measure
from benchmarks.memory import MemoryProbe
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fusion.uses_fusion import USESFusion
from espnet_hybridse.sqa.backends import PACKAGED
from espnet_hybridse.sqa.checkpoint import WEIGHTS
from espnet_hybridse.sqa.network import UniVersaExt
from espnet_hybridse.training.config import read_yaml

SYSTEMS = {
    "off": "without SQA",
    "dnsmos": "with SQA, DNSMOS and DNSMOS Pro",
    "dnsmos_8": "the same in every eighth step",
    "published": "with SQA, network of the published size",
    "published_4": "the same in every fourth step",
}
EVERY = {"dnsmos_8": 8, "published_4": 4}


@dataclass(frozen=True)
class FusionSettings:
    """What is run: `batch` utterances of `seconds` s at `fs` Hz in each training step.

    Raises:
        ValueError: an unknown rate or system, or a number that is not above 0.
    """

    device: torch.device
    systems: Sequence[str]
    fs: int = 16000
    seconds: float = 3.0
    batch: int = 4
    repeat: int = 3
    limit_s: float = 60.0
    threads: int | None = None

    def __post_init__(self):
        for name, value, known in (
            ("rate", [self.fs], RATES),
            ("systems", self.systems, tuple(SYSTEMS)),
        ):
            for one in value:
                if one not in known:
                    raise ValueError(f"--{name} {one} is not one of {', '.join(map(str, known))}")
        for name in ("seconds", "batch", "repeat"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} {getattr(self, name)} must be above 0")


@dataclass(frozen=True)
class Case:
    """One row: a fusion's training config and its SQA term's system."""

    config: Mapping[str, Any]
    system: str
    settings: FusionSettings


class Step:
    """Forward and backward passes of `every` training steps through the real ESPnet model."""

    def __init__(self, case: Case):
        self.every, settings = EVERY.get(case.system, 1), case.settings
        torch.manual_seed(0)
        with checkpoint_of(case.system) as path:
            self.model = build(case.config, path, self.every).to(settings.device).train()
        size = (settings.batch, round(settings.seconds * settings.fs))
        names = ("speech_mix", "speech_ref1", "speech_disc", "speech_gen")
        self.batch = {name: 0.1 * torch.randn(size, device=settings.device) for name in names}
        lengths = torch.full(size[:1], size[1], device=settings.device)
        self.batch["speech_mix_lengths"] = lengths
        self.batch["utt2fs"] = torch.full((size[0], 1), settings.fs, device=settings.device)

    def __call__(self) -> None:
        for _ in range(self.every):
            self.model.zero_grad(set_to_none=True)
            self.model(**self.batch)[0].backward()


@contextmanager
def checkpoint_of(system: str) -> Iterator[str | None]:
    """What the term is told, for the time of the block; of the published size random weights."""
    if not system.startswith("published"):
        yield PACKAGED if system.startswith(PACKAGED) else None
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        torch.save({"model": UniVersaExt().state_dict()}, path)
        yield str(path)


def build(config: Mapping[str, Any], checkpoint: str | None, every: int) -> torch.nn.Module:
    """The ESPnet model of a fusion's training YAML with this SQA checkpoint, or without the term.

    Raises:
        ValueError: the config has no criterion `sqa`.
    """
    from espnet_hybridse.training.task import HybridEnhancementTask

    conf = {**vars(HybridEnhancementTask.get_parser().parse_args([])), **copy.deepcopy(config)}
    terms = [term for term in conf["criterions"] if term["name"] == "sqa"]
    if not terms:
        raise ValueError("the configuration has no criterion 'sqa'; take a train_fusion.yaml")
    for term in terms:
        term["conf"] = {"checkpoint": checkpoint, "every": every}
    if checkpoint is None:
        conf["criterions"] = [term for term in conf["criterions"] if term not in terms]
    return HybridEnhancementTask.build_model(argparse.Namespace(**conf))


def prepare(case: Case) -> tuple[Call, Call]:
    """For the memory probe: a warm-up and the step."""
    step = Step(case)
    return step, step


def run(config: Mapping[str, Any], settings: FusionSettings) -> list[dict[str, Any]]:
    """One row a system: milliseconds and peak memory (MB) of a training step.

    Args:
        config: training of a fusion.
    """
    rows = {}
    calls: dict[str, Step] = {}
    with MemoryProbe(settings.device, settings.threads) as probe:
        for key in tqdm(settings.systems, desc="memory", unit="system", leave=False):
            case = Case(config, key, settings)
            rows[key] = {"system": key, "label": SYSTEMS[key], "mb": probe.peak(prepare, case)}
            calls[key] = Step(case)
            calls[key]()
    times, failed = measure(calls, settings.repeat, settings.device, settings.limit_s, "steps")
    for key, row in rows.items():
        row["failed"] = failed.get(key, "")
        if key in times:
            row["ms"] = 1000 * min(times[key]) / EVERY.get(key, 1)
    if base := rows.get("off", {}).get("ms"):
        for row in rows.values():
            row["ms_x"] = row["ms"] / base if "ms" in row else None
    return list(rows.values())


COLUMNS = {
    "label": ("Training step of the fusion", "{}"),
    "ms": ("ms", "{:.0f}"),
    "ms_x": ("time", "{:.2f}x"),
    "mb": ("peak MB", "{:.0f}"),
    "failed": ("not measured", "{:.90}"),
}
LEGEND = """\
Forward and backward passes on dumped branch outputs (noise here), random weights; the fastest of
the timed calls, interleaved. peak MB (2**20 bytes): above weights and inputs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="+", default=["mini", "paper"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_fusion.yaml files, no preset"
    )
    parser.add_argument("--rate", type=int, default=16000, metavar="HZ", help=f"of {RATES}")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each utterance")
    parser.add_argument("--batch", type=int, default=4, help="utterances in a step")
    keys = list(SYSTEMS)
    parser.add_argument(
        "--systems", nargs="+", default=keys, metavar="S", help=f"some of {' '.join(keys)}"
    )
    add_common(parser)
    parser.set_defaults(limit_s=60.0)


def report_of(args: argparse.Namespace, device: torch.device) -> int:
    settings = FusionSettings(
        device,
        args.systems,
        args.rate,
        args.seconds,
        args.batch,
        args.repeat,
        args.limit_s,
        args.threads,
    )
    given = configs(args, "train_fusion.yaml")
    for path in given.values():
        separator_conf(path, "uses_fusion", USESFusion)
    report = Report(args, asdict(settings), device)
    for name, path in given.items():
        rows = run(read_yaml(path), settings)
        heading = f"{name}, {settings.batch} x {settings.seconds:g} s at {settings.fs} Hz"
        report.table(name, heading, rows, COLUMNS)
    return report.end(LEGEND)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 2 after one line on wrong options."""
    return run_script("fusion", __doc__, add_arguments, report_of, argv)


if __name__ == "__main__":
    sys.exit(main())
