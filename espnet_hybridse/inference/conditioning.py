"""What is done to a piece before and after the network: offset, level, pauses, the gate's share.

With the gate off nothing is.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from espnet_hybridse.inference.gate import Decision, decide
from espnet_hybridse.inference.level import Leveller
from espnet_hybridse.inference.measures import Gauge
from espnet_hybridse.inference.pauses import lower_pauses
from espnet_hybridse.inference.second_look import Loudest
from espnet_hybridse.inference.wordless import Heard, Listener, wordless


@dataclass(frozen=True)
class Prepared:
    """What was done to a piece before the network, for afterwards.

    Attributes:
        gain: of each sample, (T,).
        heard: what a listener heard of each channel.
    """

    gain: np.ndarray
    heard: list[Heard]


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
        self._listeners: dict[tuple[str, int], Listener] = defaultdict(lambda: Listener(fs))

    def before(self, piece: np.ndarray) -> tuple[np.ndarray, Prepared | None]:
        """Return the piece (C, T) as the network shall hear it, and what `after` needs of it."""
        if not self.active or not piece.any():
            return piece, None
        gain = self._leveller.gains(piece, self.fs)
        heard = (without_offset(piece) * gain).astype(np.float32)
        ears = self._ears("input", heard)
        return heard, Prepared(gain, [listener.heard() for listener in ears])

    def after(
        self, piece: np.ndarray, wet: np.ndarray, prepared: Prepared | None, output: str = ""
    ) -> np.ndarray:
        """Return the network's `wet` (C, T) at the level of `piece`, its pauses lowered.

        Args:
            piece, prepared: given to `before` and got from it.
            wet: what the network made of that.
            output: which of several of one network; each is listened to by itself.
        """
        if prepared is None:
            return wet
        ears = self._ears(f"output {output}", wet)
        wet = (wet / prepared.gain).astype(np.float32)
        lowered = []
        for dry, row, heard, listener in zip(
            without_offset(piece), wet, prepared.heard, ears, strict=True
        ):
            where = wordless(heard, listener, dry, row)
            lowered.append(lower_pauses(dry, row, self.fs, where))
        return np.stack(lowered)

    def _ears(self, what: str, rows: np.ndarray) -> list[Listener]:
        """A listener for each channel, which has heard `rows` (C, T)."""
        listeners = [self._listeners[what, channel] for channel in range(len(rows))]
        for listener, row in zip(listeners, rows, strict=True):
            listener.hear(row)
        return listeners


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
        look_again: what the network says of a decision and of the loudest that was heard.
    """

    def __init__(
        self,
        blocks: Iterable[np.ndarray],
        fs: int,
        share: float | None,
        look_again: Callable[[Decision, Loudest], Decision] = lambda decision, _: decision,
    ):
        self._blocks, self._gauge, self._share = blocks, Gauge(fs), share
        self._loudest, self._look_again = Loudest(fs), look_again

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            if self._share is None:
                self._gauge.add(block)
                self._loudest.add(block)
            yield block

    def share(self) -> float:
        """Share of the enhanced signal, by what was heard so far."""
        if self._share is not None:
            return self._share
        return self._look_again(decide(self._gauge.result()), self._loudest).share
