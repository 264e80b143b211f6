"""Real-time factor of the whole generative branch on one long recording."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from benchmarks.measure import synchronise
from benchmarks.random_models import build
from espnet_hybridse.generative.decode_weights import DTYPES
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.model.loading import LoadedModel


@dataclass
class BranchRow:
    """The branch with its LM in one type and so many pieces at once.

    Attributes:
        rtf: seconds per second of audio.
        semantic_s, lm_s, refiner_s, other_s: seconds of its parts; `other` is STFT, resampling,
            cross-fading.
    """

    dtype: str
    batch: int
    rtf: float | None = None
    semantic_s: float | None = None
    lm_s: float | None = None
    refiner_s: float | None = None
    other_s: float | None = None


def run(
    config: dict[str, Any],
    device: torch.device,
    seconds: float,
    fs: int,
    dtypes: list[str],
    batches: list[int],
) -> list[BranchRow]:
    """Enhance `seconds` of noise at `fs` Hz, as :class:`Enhancer` does a recording.

    Weights are random and WavLM is made at the size of base+: the same work as with trained ones.

    Args:
        config: of the training of a generative branch.
    """
    audio = 0.05 * torch.randn(round(seconds * fs), generator=torch.Generator().manual_seed(0))
    with TemporaryDirectory() as folder:
        model = build(config, Path(folder)).to(device)
    rows = []
    cases = [(dtype, batch) for dtype in dtypes for batch in batches]
    for dtype, batch in tqdm(cases, desc="whole branch", leave=False):
        loaded = LoadedModel(model, config)
        enhancer = Enhancer(loaded, str(device), batch=batch, decode_dtype=dtype)
        enhancer(audio[:fs].numpy(), fs)
        with _stopwatch(model.separator, device) as parts:
            start = time.perf_counter()
            enhancer(audio.numpy(), fs)
            total = time.perf_counter() - start
        row = BranchRow(dtype, batch, total / seconds, **parts)
        row.other_s = total - sum(parts.values())
        rows.append(row)
    return rows


@contextmanager
def _stopwatch(separator: nn.Module, device: torch.device) -> Iterator[dict[str, float]]:
    """Seconds spent in the parts of the branch while the block runs."""
    parts = {"semantic_s": 0.0, "lm_s": 0.0, "refiner_s": 0.0}
    calls = {"semantic_s": "_prefix", "lm_s": "_decode", "refiner_s": "refiner"}

    def timed(name: str, call):
        def wrapper(*args):
            synchronise(device)
            start = time.perf_counter()
            result = call(*args)
            synchronise(device)
            parts[name] += time.perf_counter() - start
            return result

        return wrapper

    handles = []
    for name, attribute in calls.items():
        part = getattr(separator, attribute)
        if isinstance(part, nn.Module):
            original = part.forward
            part.forward = timed(name, original)
            handles.append((part, "forward"))
        else:
            object.__setattr__(separator, attribute, timed(name, part))
            handles.append((separator, attribute))
    try:
        yield parts
    finally:
        for owner, attribute in handles:
            delattr(owner, attribute)


COLUMNS = {
    "label": ("Decoding", "{}"),
    "rtf": ("RTF", "{:.3f}"),
    "semantic_s": ("encoder (s)", "{:.1f}"),
    "lm_s": ("LM (s)", "{:.1f}"),
    "refiner_s": ("refiner (s)", "{:.1f}"),
    "other_s": ("other (s)", "{:.1f}"),
}


def as_dicts(rows: list[BranchRow]) -> list[dict[str, Any]]:
    """For the table and for JSON."""
    return [{**vars(row), "label": f"{row.dtype}, {row.batch} at once"} for row in rows]


def check(seconds: float, dtypes: list[str]) -> None:
    """Raise ValueError on options that :func:`run` cannot take."""
    if seconds <= 0:
        raise ValueError(f"--file_s {seconds} must be above 0")
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise ValueError(f"--systems {dtype} is not one of {', '.join(DTYPES)}")
