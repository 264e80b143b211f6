"""What a metric is: its declaration, its one method, and what it is told about an utterance."""

import importlib.util
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr

from espnet_hybridse.assets import SCORING, AssetCorrupt, AssetMissing

CATEGORIES = ("non-intrusive", "intrusive", "task-independent", "task-dependent")
"""The challenge's categories, in the order of the table's columns."""


class MetricFailed(RuntimeError):
    """A metric has no value for this utterance; the message is the reason kept in the row."""


@dataclass
class Context:
    """What a metric may need beside the two waveforms, and where it leaves more than a number."""

    uid: str
    text: str | None = None
    lang: str | None = None
    weights: dict[str, float] = field(default_factory=dict)
    """Column -> weight of this utterance in the column's mean, where that is not 1."""
    notes: dict[str, str] = field(default_factory=dict)
    """Kept in the utterance's row, e.g. what a recogniser heard."""
    cache: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """`make()` the first time `key` is asked for, the same object afterwards."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    def at_16k(self, wav: np.ndarray, fs: int) -> np.ndarray:
        """`wav` (T,) at 16 kHz; soxr at its default quality, as in the challenge's scripts."""
        if fs == 16000:
            return wav
        return self.once(("16k", id(wav)), lambda: soxr.resample(wav, fs, 16000))


class Metric:
    """One column of the results table. A model is loaded at the first `compute`, not before."""

    key: str
    """The word for --metrics."""
    name: str
    """The column; a stand-in for an official model says in it whose model it is."""
    category: str
    needs_reference: bool = False
    rate: str = "the file's own rate"
    range: tuple[float, float]
    higher_is_better: bool = True
    source: str
    """The model or package, and its version."""
    modules: tuple[str, ...] = ()
    """Packages that must be importable."""
    install: str = SCORING

    def available(self) -> str | None:
        """None when the metric can run here, else the reason and the line that installs it."""
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"package {module!r} is not installed; run: {self.install}"
        try:
            self.check_assets()
        except (AssetMissing, AssetCorrupt) as error:
            return str(error)
        return None

    def check_assets(self) -> None:
        """Raise AssetMissing or AssetCorrupt when the weights cannot be used."""

    def compute(
        self, inf: np.ndarray, ref: np.ndarray | None, fs: int, context: Context
    ) -> float:
        """Score the enhanced `inf` (T,) against the clean `ref` (T,), both at `fs` Hz.

        Raises:
            MetricFailed: there is no value for this utterance.
        """
        raise NotImplementedError
