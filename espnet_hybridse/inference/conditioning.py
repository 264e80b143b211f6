"""What is done to a piece before and after the network: offset, level, pauses, the gate's share.


With the gate off nothing is.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from espnet_hybridse.inference.gate import decide
from espnet_hybridse.inference.level import Leveller
from espnet_hybridse.inference.measures import Gauge
from espnet_hybridse.inference.pauses import lower_pauses


class Conditioning:
    """Prepares the pieces of one recording, in order, and finishes what the network made of them.

    A constant offset is taken out, so that it changes nothing; speech is brought to one level.

    Args:
        fs: rate of the pieces in Hz.
        active: False leaves everything as it is.
    """

    def __init__(self, fs: int, active: bool = True):
        self.fs, self.active = fs, active
        self._leveller = Leveller()

    def before(self, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the piece (C, T) as the network shall hear it, and its gain (T,) for `after`."""
        if not self.active or not piece.any():
            return piece, None
        gain = self._leveller.gains(piece, self.fs)
        return (without_offset(piece) * gain).astype(np.float32), gain

    def after(self, piece: np.ndarray, wet: np.ndarray, gain: np.ndarray | None) -> np.ndarray:
        """Return the network's `wet` (C, T) at the level of `piece`, its pauses lowered."""
        if gain is None:
            return wet
        wet = (wet / gain).astype(np.float32)
        dry = without_offset(piece)
        return np.stack([lower_pauses(*rows, self.fs) for rows in zip(dry, wet, strict=True)])


def without_offset(piece: np.ndarray) -> np.ndarray:
    """(C, T) less the mean of each channel, in float64."""
    wide = piece.astype(np.float64)
    return wide - wide.mean(-1, keepdims=True)


class RunningGate:
    """The gate of a stream whose end is not known: decides anew as more is heard.

    Args:
        blocks: (C, T_i) each.
        fs: rate in Hz.
        share: 0 to 1 where the decision was made before; None decides here.
    """

    def __init__(self, blocks: Iterable[np.ndarray], fs: int, share: float | None):
        self._blocks, self._gauge, self._share = blocks, Gauge(fs), share

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            if self._share is None:
                self._gauge.add(block)
            yield block

    def share(self) -> float:
        """Share of the enhanced signal, by what was heard so far."""
        return decide(self._gauge.result()).share if self._share is None else self._share
