"""What a metric is: its declaration, its one method, and what it is told about an utterance."""

import importlib.util
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr

from espnet_hybridse.fileio.assets import AssetCorrupt, AssetMissing

CATEGORIES = ("non-intrusive", "intrusive", "task-independent", "task-dependent")
"""The challenge's categories, in the order of the table's columns."""


class MetricFailed(RuntimeError):
    """A metric has no value for this utterance; the message is the reason kept in the row."""


@dataclass(frozen=True)
class Setup:
    """Where networks run and where their weights are.

    `models` maps a metric's key to a folder, a file or a model id that takes the place of the
    metric's own `model_id`.
    """

    device: str = "cpu"
    models: Mapping[str, str] = field(default_factory=dict)


HERE = Setup()


@dataclass
class Context:
    """What a metric may need beside the two waveforms, and where it leaves more than a number."""

    uid: str
    text: str | None = None
    lang: str | None = None
    setup: Setup = HERE
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


@dataclass
class Utterance:
    """What is scored: the enhanced and the clean waveform (T,), both at `fs` Hz."""

    inf: np.ndarray
    ref: np.ndarray | None
    fs: int
    context: Context


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
    model_id: str | None = None
    """Public name of the weights, where they are no part of a package."""
    official: bool = False
    """Whether the challenge's ranking counts this column."""
    stands_for: str | None = None
    """Column of the official metric that this one replaces where its weights cannot be had."""
    network: bool = False
    """Whether a GPU helps: such metrics are computed there, several files at once."""
    extra: str = "scoring"
    """The extra of this package that installs what the metric needs."""
    modules: tuple[str, ...] = ()
    """Packages that must be importable."""

    @property
    def install(self) -> str:
        """The line that installs `modules`."""
        return f"pip install 'espnet_hybridse[{self.extra}]'"

    def available(self, setup: Setup = HERE) -> str | None:
        """None when the metric can run here, else the reason and the line that helps."""
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"package {module!r} is not installed; run: {self.install}"
        try:
            self.check_assets(setup)
        except (AssetMissing, AssetCorrupt) as error:
            return str(error)
        return None

    def check_assets(self, setup: Setup) -> None:
        """Raise AssetMissing or AssetCorrupt when the weights cannot be used."""

    def together(self, utterances: Sequence[Utterance]) -> None:
        """Compute several files in one call of the network, where it gives the same values.

        What comes out waits in each utterance's context for its `compute`.
        """

    def compute(self, inf: np.ndarray, ref: np.ndarray | None, fs: int, context: Context) -> float:
        """Score the enhanced `inf` (T,) against the clean `ref` (T,), both at `fs` Hz.

        Raises:
            MetricFailed: there is no value for this utterance.
        """
        raise NotImplementedError
