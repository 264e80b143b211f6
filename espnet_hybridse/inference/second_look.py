"""A second look at what the gate takes for clean: what the network would change there.

Measures miss what is wrong with one noisy recording in fifteen. A network that was trained well
knows better: it changes clean speech by hardly anything, and those recordings by more. How much
that is depends on the network, so each model's configuration says it (`clean_change_db`, the most
by which it changed clean validation speech, in dB re the level of the speech); of one that does not
say, the gate decides alone. Our choice, as the gate itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from espnet_hybridse.inference.frames import in_db
from espnet_hybridse.inference.gate import Decision
from espnet_hybridse.inference.measures import OneChannel

KEY = "clean_change_db"
LOOK_S = 6.0
"""The loudest so many seconds of a recording are looked at: where speech is, and cheap."""
MARGIN_DB, WIDTH_DB = 1.0, 2.0
"""So far above the most that clean speech was changed by the share begins to rise, and so much
further it is 1. The margin is for clean speech that was not among it."""


def most_of(config: Mapping[str, Any]) -> float | None:
    """What a model's configuration says of itself, in dB; None where it says nothing.

    Raises:
        ValueError: it is no number.
    """
    most = config.get(KEY)
    if most is not None and not isinstance(most, int | float):
        raise ValueError(f"{KEY}: {most!r} of the model's configuration: expected dB, as -28.5")
    return most


class Loudest:
    """The loudest :data:`LOOK_S` seconds of what it hears, in the one channel that was measured.

    Args:
        fs: rate in Hz.

    Attributes:
        change_db: power of what the network changed there, re full scale; None before it was asked.
    """

    def __init__(self, fs: int):
        self.fs = fs
        self.change_db: float | None = None
        self._one_channel = OneChannel()
        self._size = round(LOOK_S * fs)
        self._coming: list[np.ndarray] = []
        self._count = 0
        self._best, self._energy = np.zeros(0, np.float32), -1.0

    def add(self, block: np.ndarray) -> None:
        """Hear (C, n), which follows what came before."""
        wav = self._one_channel(block)
        while wav.size:
            part = wav[: self._size - self._count]
            self._coming.append(part)
            self._count += part.size
            wav = wav[part.size :]
            if self._count == self._size:
                self._compare()
                self._coming, self._count = [], 0

    def wav(self) -> np.ndarray:
        """Return the samples (T,), at most :data:`LOOK_S` seconds."""
        if self._count:
            self._compare()
        return self._best

    def _compare(self) -> None:
        wav = np.concatenate(self._coming)
        energy = float(np.square(wav, dtype=np.float64).sum())
        if energy > self._energy:
            self._best, self._energy, self.change_db = wav, energy, None


def change_db(dry: np.ndarray, wet: np.ndarray) -> float:
    """Power of what an enhancement changed in (T,) but for an offset, in dB re full scale."""
    return float(in_db(np.var(wet - dry, dtype=np.float64)))


def reconsidered(decision: Decision, change: float, most: float) -> Decision:
    """The decision with what the network would change in view.

    Args:
        decision: of the measures alone.
        change: power of that in dB re the level of the speech.
        most: the most that clean speech is changed by, in dB likewise.
    """
    share = float(np.clip((change - most - MARGIN_DB) / WIDTH_DB, 0.0, 1.0))
    if share <= decision.share:
        return replace(decision, change_db=change)
    return replace(decision, share=share, because=KEY, change_db=change)
