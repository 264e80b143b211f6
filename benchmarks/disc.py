"""TF-GridNet-SFI beside ESPnet's TFGridNetV3 and the challenge baseline's BSRNN."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.command import Report, add_common, configs, run_script, separator_conf
from benchmarks.disc_systems import SYSTEMS, Case, Step, prepare
from benchmarks.macs import count
from benchmarks.measure import measure, reason
from benchmarks.memory import MemoryProbe
from espnet_hybridse.discriminative.tfgridnet_sfi import TFGridNetSFI
from espnet_hybridse.fileio.audio import RATES

UPSTREAM = "v3"
MODES = ("infer", "train")
COUNT_S = 4.0
"""Audio over which multiply-accumulates are counted: short inputs are padding for a good part."""


@dataclass(frozen=True)
class DiscSettings:
    """What is run.

    Attributes:
        rates: Hz.
        systems: keys of SYSTEMS.
        seconds, batch: of audio in each call.
        repeat: timed calls of each system.
        limit_s: seconds after which no further turn of timed calls begins.
        training: measure training steps too.

    Raises:
        ValueError: an unknown rate or system, or a number that is not above 0.
    """

    device: torch.device
    rates: Sequence[int]
    systems: Sequence[str]
    seconds: float
    batch: int = 1
    repeat: int = 3
    limit_s: float = 30.0
    training: bool = True
    threads: int | None = None

    def __post_init__(self):
        for name, known in (("rates", RATES), ("systems", tuple(SYSTEMS))):
            for value in getattr(self, name):
                if value not in known:
                    accepted = ", ".join(map(str, known))
                    raise ValueError(f"--{name} {value} is not one of {accepted}")
        for name in ("seconds", "batch", "repeat", "threads"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"--{name} {value} must be above 0")

    def modes(self, system: str) -> Sequence[str]:
        """What is measured of a system."""
        return MODES if self.training and SYSTEMS[system].trains(self.device) else MODES[:1]


@dataclass
class Row:
    """One system at one rate. Times are in seconds per second of audio, memory in MB.

    Attributes:
        times: mode -> seconds of every timed call.
        *_x: relative to ESPnet's TFGridNetV3; speeds above 1 are faster, memory below 1 is less.
        difference: largest absolute difference from TFGridNetV3's output, where weights are equal.
        output_max: TFGridNetV3's largest absolute output value, to read `difference` by.
        failed: what could not be measured -> why.
    """

    fs: int
    system: str
    label: str
    params_m: float | None = None
    gmac: float | None = None
    infer_s: float | None = None
    infer_x: float | None = None
    infer_mb: float | None = None
    infer_mb_x: float | None = None
    train_s: float | None = None
    train_x: float | None = None
    train_mb: float | None = None
    train_mb_x: float | None = None
    difference: float | None = None
    output_max: float | None = None
    times: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Whatever fails in the block is noted; the other systems are measured all the same."""
        try:
            yield
        except Exception as error:
            self.failed[what] = reason(error)


def run(own: dict[str, Any], settings: DiscSettings) -> Iterator[list[Row]]:
    """Measure one preset's separator_conf: the rows of one rate after the other."""
    for fs in settings.rates:
        yield _run_rate(own, fs, settings)


def _run_rate(own: dict[str, Any], fs: int, settings: DiscSettings) -> list[Row]:
    rows = {key: Row(fs, key, SYSTEMS[key].label) for key in settings.systems}
    steps: dict[str, Step] = {}
    with MemoryProbe(settings.device, settings.threads) as probe:
        for key in tqdm(rows, desc=f"{fs} Hz, memory", unit="system", leave=False):
            case = Case(key, own, fs, settings.seconds, settings.batch, settings.device.type)
            _examine(case, rows[key], probe, settings)
            with rows[key].noting("start"):
                step = Step(case)
                for mode in settings.modes(key):
                    step.warm(mode)
                steps[key] = step
    for mode in MODES:
        # What ran out of memory in a process of its own must not do so in this one.
        ready = {
            key: getattr(step, mode)
            for key, step in steps.items()
            if mode in settings.modes(key) and mode not in rows[key].failed
        }
        desc = f"{fs} Hz, {mode}"
        times, failed = measure(ready, settings.repeat, settings.device, settings.limit_s, desc)
        for key, values in times.items():
            rows[key].times[mode] = values
            # The fastest: another program can only make a call slower.
            setattr(rows[key], f"{mode}_s", min(values) / settings.seconds / settings.batch)
        for key, why in failed.items():
            rows[key].failed[mode] = why
        _differences(steps, rows)
        for step in steps.values():
            step.clear()
    return _relative(list(rows.values()))


def _examine(case: Case, row: Row, probe: MemoryProbe, settings: DiscSettings) -> None:
    """Size and memory of one system."""
    with row.noting("GMAC"):
        row.params_m, row.gmac = count_case(case)
    for mode in settings.modes(case.system):
        with row.noting(mode):
            setattr(row, f"{mode}_mb", probe.peak(prepare, case, mode))


def count_case(case: Case) -> tuple[float, float]:
    """Parameters in millions and GMAC per second of audio, over COUNT_S seconds."""
    case = replace(case, seconds=COUNT_S, batch=1)
    ilens = case.ilens()

    def run(model: torch.nn.Module) -> None:
        model(torch.empty(case.shape, dtype=torch.complex64), ilens, {"fs": case.fs})

    parameters, macs = count(case.build(), run)
    return parameters / 1e6, macs / 1e9 / COUNT_S


def _differences(steps: dict[str, Step], rows: dict[str, Row]) -> None:
    """Compare the outputs that the steps keep."""
    reference = steps[UPSTREAM].output if UPSTREAM in steps else None
    for key in steps.keys() - {UPSTREAM} if reference is not None else ():
        step = steps[key]
        if step.output is not None and SYSTEMS[key].same:
            rows[key].difference = (step.output - reference).abs().max().item()
            rows[key].output_max = reference.abs().max().item()


def _relative(rows: list[Row]) -> list[Row]:
    upstream = next((row for row in rows if row.system == UPSTREAM), None)
    for row in rows if upstream else ():
        for mode in MODES:
            for name, above in ((f"{mode}_s", True), (f"{mode}_mb", False)):
                mine, theirs = getattr(row, name), getattr(upstream, name)
                if mine and theirs:
                    ratio = theirs / mine if above else mine / theirs
                    setattr(row, f"{mode}_x" if above else f"{mode}_mb_x", ratio)
    return rows


COLUMNS = {
    "label": ("System", "{}"),
    "params_m": ("Params (M)", "{:.2f}"),
    "gmac": ("GMAC/s", "{:.1f}"),
    "infer_s": ("infer (s/s)", "{:.3f}"),
    "infer_x": ("speed", "{:.2f}x"),
    "infer_mb": ("MB", "{:.0f}"),
    "infer_mb_x": ("memory", "{:.2f}x"),
    "train_s": ("train (s/s)", "{:.3f}"),
    "train_x": ("speed", "{:.2f}x"),
    "train_mb": ("MB", "{:.0f}"),
    "train_mb_x": ("memory", "{:.2f}x"),
    "difference": ("max diff.", "{:.0e}"),
    "reasons": ("not measured", "{:.90}"),
}
"""Key of a row -> (title, format)."""

LEGEND = f"""\
infer x, train x: timed calls of each system, interleaved; the fastest counts, so trust one call
to 20 % only. s/s: seconds per second of audio; train is forward, loss and backward. MB (2**20
bytes): peak above weights and input, on CPU to about 2 MB. speed, memory: relative to ESPnet's
TFGridNetV3. max diff.: from its output, with its weights. GMAC/s: counted over {COUNT_S:.0f} s.
"mended": its last layer's output is made float32, since stock TFGridNetV3 under bfloat16 stops
there. On CPU bfloat16 is trained only where it is faster than float32."""


def title(rows: Sequence[Row], settings: DiscSettings) -> str:
    """What one rate's rows have in common."""
    text = f"{rows[0].fs} Hz, {settings.batch} x {settings.seconds} s"
    for mode in MODES:
        text += f", {mode} x {max(len(row.times.get(mode, ())) for row in rows)}"
    largest = next((row.output_max for row in rows if row.output_max), None)
    return text if largest is None else f"{text}, largest output value {largest:.3g}"


def as_dicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For the table and for JSON."""
    return [asdict(row) | {"reasons": reasons(row.failed)} for row in rows]


def reasons(failed: dict[str, str]) -> str:
    """What failed -> why, each reason once."""
    whats = {why: [what for what in failed if failed[what] == why] for why in failed.values()}
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in whats.items())


SECONDS = {"cpu": 0.25, "cuda": 4.0}
"""Audio in each call by default: on two cores all of it takes less than ten minutes."""
OPTIONAL = ("ours_compile",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    keys = " ".join(SYSTEMS)
    parser.add_argument("--preset", nargs="+", default=["paper", "mini"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_disc.yaml files, no preset"
    )
    parser.add_argument(
        "--rates", nargs="+", type=int, default=[16000, 48000], metavar="HZ", help=f"of {RATES}"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"of audio in each call; else {SECONDS['cpu']} on CPU, {SECONDS['cuda']} on a GPU",
    )
    parser.add_argument("--batch", type=int, default=1, help="utterances in each call")
    parser.add_argument("--systems", nargs="+", metavar="S", help=f"some of {keys}")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--skip_training", action="store_true", help="inference only")
    add_common(parser)


def report_of(args: argparse.Namespace, device: torch.device) -> int:
    systems = args.systems or [key for key in SYSTEMS if key not in OPTIONAL]
    if args.compile and "ours_compile" not in systems:
        systems.append("ours_compile")
    settings = DiscSettings(
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
    options = {
        name: separator_conf(config, "tfgridnet_sfi", TFGridNetSFI)
        for name, config in configs(args, "train_disc.yaml").items()
    }
    report = Report(args, {**asdict(settings), "separator_conf": options}, device)
    for name, own in options.items():
        for rows in run(own, settings):
            heading = f"{name}, {title(rows, settings)}"
            report.table(name, heading, as_dicts(rows), COLUMNS)
    return report.end(LEGEND)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 2 after one line on wrong options."""
    return run_script("disc", __doc__, add_arguments, report_of, argv)


if __name__ == "__main__":
    sys.exit(main())
