"""Token decoding of the generative branch beside transformers' `LlamaForCausalLM.generate`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import gen_branch
from benchmarks.command import Report, add_common, configs, run_script, separator_conf
from benchmarks.measure import Call, measure, reason, seconds_of
from benchmarks.memory import MemoryProbe
from benchmarks.reference_llama import reference_llama
from espnet_hybridse.generative.ar_refiner import ARRefiner
from espnet_hybridse.generative.decode_weights import DTYPES, StepWeights
from espnet_hybridse.generative.decoding import decode
from espnet_hybridse.generative.token_lm import TokenLM
from espnet_hybridse.training.config import read_yaml

PEER = "generate"
SYSTEMS = (PEER, *DTYPES)
LABELS = {PEER: "transformers generate", **{dtype: f"ours, {dtype}" for dtype in DTYPES}}
WARM_STEPS = 2
READ_MB = 512


@dataclass(frozen=True)
class Case:
    """A system with what it decodes. Can be sent to another process.

    Attributes:
        system: one of SYSTEMS.
        sizes: of TokenLM.
        frames: of the prefix, and tokens to decode.
        batch: utterances at once.
        device: "cpu" or "cuda".
    """

    system: str
    sizes: dict[str, Any]
    frames: int
    batch: int
    device: str


class Step:
    """A language model with random weights, ready to decode noise."""

    def __init__(self, case: Case):
        self.case = case
        torch.manual_seed(0)
        # Positions as plain LLaMA counts them, so that `generate` computes the same.
        self.lm = TokenLM(**{**case.sizes, "positions": "sequential"}).eval().to(case.device)
        with torch.no_grad():
            for parameter in self.lm.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(2.0)  # fresh weights repeat one token for ever
        shape = (case.batch, case.frames, self.lm.dim)
        self.prefix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self.prefix = self.prefix.to(case.device)
        self.plens = torch.full((case.batch,), case.frames, device=case.device)
        self.weights: StepWeights | None = None
        self.tokens: torch.Tensor | None = None
        if case.system == PEER:
            self.peer = reference_llama(self.lm).to(case.device)
        else:
            self.weights = StepWeights(self.lm, case.system)

    def run(self, steps: int) -> None:
        """Decode; the tokens are kept."""
        with torch.no_grad():
            self.tokens = self._generate(steps) if self.weights is None else self._decode(steps)

    def agreement(self, history: torch.Tensor) -> float:
        """Share of steps that pick the token of `history` (B, N) when they continue from it."""
        picks = self._decode(history.size(1), history)
        return (picks == history).float().mean().item()

    def _decode(self, steps: int, history: torch.Tensor | None = None) -> torch.Tensor:
        given = {"weights": self.weights, "history": history}
        return decode(self.lm, self.prefix, self.plens, steps, **given).tokens

    def _generate(self, steps: int) -> torch.Tensor:
        bos = self.lm.bos.expand(len(self.prefix), 1, -1)
        embeds = torch.cat([self.lm.embed_prefix(self.prefix), bos], 1)
        return self.peer.generate(
            inputs_embeds=embeds,
            attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device),
            max_new_tokens=steps,
            do_sample=False,
            pad_token_id=0,
        )


def prepare(case: Case) -> tuple[Call, Call]:
    """The warm-up and the whole decoding, for a memory probe."""
    step = Step(case)
    return partial(step.run, WARM_STEPS), partial(step.run, case.frames)


@dataclass
class Row:
    """One system at one batch size.

    Attributes:
        ms: milliseconds per token: of a call by its steps and by its utterances.
        speed: `generate`'s ms at the same batch size by ours.
        speed_1: `generate`'s ms at batch size 1 by ours.
        floor_ms: what reading weights, and keys and values of an average step, takes at the
            memory's measured speed, by the utterances.
        floor_x: ms / floor_ms.
        agreement: share of tokens equal to float32's, given its history.
        mb: peak memory above weights, MB; the fused copy of the weights is `weights_mb`.
        failed: what could not be measured -> why.
    """

    system: str
    label: str
    batch: int
    ms: float | None = None
    tokens_s: float | None = None
    speed: float | None = None
    speed_1: float | None = None
    floor_ms: float | None = None
    floor_x: float | None = None
    agreement: float | None = None
    mb: float | None = None
    weights_mb: float | None = None
    times: list[float] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GenSettings:
    """What is run.

    Attributes:
        systems: of SYSTEMS.
        seconds: of speech; the prefix has 50 frames and the result 50 tokens for each.
        batches: utterances decoded together.
        repeat, limit_s: timed calls, and seconds after which no further turn of them begins.

    Raises:
        ValueError: an unknown system, or a number that is not above 0.
    """

    device: torch.device
    systems: Sequence[str] = SYSTEMS
    seconds: float = 4.0
    batches: Sequence[int] = (1, 8)
    repeat: int = 3
    limit_s: float = 60.0
    threads: int | None = None

    def __post_init__(self):
        for system in self.systems:
            if system not in SYSTEMS:
                raise ValueError(f"--systems {system} is not one of {', '.join(SYSTEMS)}")
        for name, value in (
            ("seconds", self.seconds),
            ("batch", min(self.batches)),
            ("repeat", self.repeat),
            ("threads", 1 if self.threads is None else self.threads),
        ):
            if value <= 0:
                raise ValueError(f"--{name} {value} must be above 0")

    @property
    def frames(self) -> int:
        return max(round(self.seconds * 50), 1)


def run(sizes: dict[str, Any], settings: GenSettings) -> Iterator[list[Row]]:
    """Measure one preset's language model: the rows of one batch size after the other."""
    rate = read_rate(settings.device)
    single = None
    for batch in settings.batches:
        rows = _run_batch(sizes, batch, settings, rate)
        peer = next((row.ms for row in rows if row.system == PEER), None)
        single = peer if batch == 1 else single
        for row in rows:
            if row.ms and peer:
                row.speed = peer / row.ms
            if row.ms and single:
                row.speed_1 = single / row.ms
        yield rows


def _run_batch(sizes: dict[str, Any], batch: int, settings: GenSettings, rate: float) -> list[Row]:
    rows = {key: Row(key, LABELS[key], batch) for key in settings.systems}
    steps: dict[str, Step] = {}
    device, frames = settings.device, settings.frames
    with MemoryProbe(device, settings.threads) as probe:
        for key, row in tqdm(rows.items(), desc=f"batch {batch}, memory", leave=False):
            case = Case(key, sizes, frames, batch, device.type)
            try:
                row.mb = probe.peak(prepare, case)
                steps[key] = Step(case)
                steps[key].run(WARM_STEPS)
            except Exception as error:  # of any kind: the others are measured all the same
                row.failed["start"] = reason(error)
                steps.pop(key, None)
    calls = {key: partial(step.run, frames) for key, step in steps.items()}
    times, failed = measure(calls, settings.repeat, device, settings.limit_s, f"batch {batch}")
    for key, why in failed.items():
        rows[key].failed["decode"] = why
    for key, values in times.items():
        row, weights = rows[key], steps[key].weights
        row.times = values
        row.ms = 1e3 * min(values) / frames / batch
        row.tokens_s = 1e3 / row.ms
        if weights is not None:
            # Keys and values of the prefix and, on average, of half the tokens.
            cached = 2 * len(weights.layers) * 1.5 * frames * batch * steps[key].lm.dim
            read = weights.nbytes + cached * weights.cache_dtype.itemsize
            row.floor_ms = 1e3 * read / rate / batch
            row.floor_x = row.ms / row.floor_ms
            row.weights_mb = weights.nbytes / 2**20
    exact = steps.get("float32", steps.get(PEER))
    if exact is not None and exact.tokens is not None:
        for key, step in steps.items():
            if step is not exact and step.weights is not None:
                rows[key].agreement = step.agreement(exact.tokens)
            elif step is not exact and step.tokens is not None:
                rows[key].agreement = (step.tokens == exact.tokens).float().mean().item()
    return list(rows.values())


def read_rate(device: torch.device) -> float:
    """Bytes a second at which the memory is read: the fastest of a few sums over READ_MB."""
    block = torch.ones(READ_MB * 2**18, device=device)
    return block.numel() * 4 / min(seconds_of(block.sum, device) for _ in range(8))


COLUMNS = {
    "label": ("System", "{}"),
    "ms": ("ms / token", "{:.2f}"),
    "tokens_s": ("tokens/s", "{:.0f}"),
    "speed": ("speed", "{:.2f}x"),
    "speed_1": ("to generate, batch 1", "{:.2f}x"),
    "floor_ms": ("floor (ms)", "{:.2f}"),
    "floor_x": ("to floor", "{:.1f}x"),
    "agreement": ("agreement", "{:.3f}"),
    "mb": ("peak MB", "{:.0f}"),
    "weights_mb": ("fused MB", "{:.0f}"),
    "reasons": ("not measured", "{:.90}"),
}

LEGEND = """\
ms / token: a whole call, prefix included, by its tokens and by the utterances decoded together;
systems take turns and the fastest call counts. floor: reading the fused weights once per step,
and keys and values, at the speed at which this machine reads memory (measured in this run).
agreement: share of tokens equal to float32's when every step continues from float32's tokens; for
generate, of its own. Weights are random, so logits lie closer together than a trained model's.
MB: 2**20 bytes; peak is above weights and input."""


def as_dicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For the table and for JSON."""
    return [
        asdict(row) | {"reasons": "; ".join(f"{k}: {why}" for k, why in row.failed.items())}
        for row in rows
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="+", default=["paper"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_gen.yaml files, no preset"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of speech to decode: 50 tokens each"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="utterances at once")
    parser.add_argument(
        "--systems",
        nargs="+",
        metavar="S",
        help=f"some of {' '.join(SYSTEMS)}; else all that the device runs",
    )
    parser.add_argument("--file_s", type=float, default=60.0, help="recording for the whole branch")
    parser.add_argument("--fs", type=int, default=16000, help="its rate in Hz")
    parser.add_argument("--skip_branch", action="store_true", help="decoding only")
    add_common(parser)
    parser.set_defaults(limit_s=60.0)


def report_of(args: argparse.Namespace, device: torch.device) -> int:
    every = [key for key in SYSTEMS if key != "int8" or device.type == "cpu"]
    systems = args.systems or every
    settings = GenSettings(
        device, systems, args.seconds, args.batch, args.repeat, args.limit_s, args.threads
    )
    gen_branch.check(args.file_s, [key for key in systems if key != PEER])
    given = configs(args, "train_gen.yaml")
    options = {name: separator_conf(c, "ar_refiner", ARRefiner) for name, c in given.items()}
    report = Report(args, {**asdict(settings), "separator_conf": options}, device)
    for name, own in options.items():
        for rows in run(lm_sizes(own), settings):
            heading = f"{name}, {rows[0].batch} x {settings.frames} frames of prefix and tokens"
            report.table(name, heading, as_dicts(rows), COLUMNS)
        dtypes = [key for key in systems if key != PEER]
        if dtypes and not args.skip_branch:
            config = read_yaml(given[name])
            rows = gen_branch.run(config, device, args.file_s, args.fs, dtypes, args.batch)
            heading = f"{name}, whole branch, {args.file_s:g} s at {args.fs} Hz"
            report.table(name, heading, gen_branch.as_dicts(rows), gen_branch.COLUMNS)
    return report.end(LEGEND)


def lm_sizes(own: dict[str, Any]) -> dict[str, Any]:
    """TokenLM's options in a separator_conf of ARRefiner."""
    names = {"lm_layers": "layers", "lm_dim": "dim", "lm_heads": "heads", "lm_ffn": "ffn"}
    names["vocab_size"] = "vocab_size"
    return {ours: own[theirs] for theirs, ours in names.items() if theirs in own}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 2 after one line on wrong options."""
    return run_script("gen", __doc__, add_arguments, report_of, argv)


if __name__ == "__main__":
    sys.exit(main())
