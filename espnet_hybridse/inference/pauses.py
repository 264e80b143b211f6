"""Stretches in which the network heard no speech, taken down further than it did.

Small networks leave a murmur of noise where nobody speaks. Where they took away most of the sound
for a while themselves, more can go; where they kept some of it, speech is near, and nothing goes.
Where nobody spoke for seconds, the network's own murmur is no reason to keep anything: it can be
made of words, and the input far down takes its place. Our choice.
"""

import numpy as np

from espnet_hybridse.inference.speech_detector import FRAME_S, chance_of_speech
from espnet_hybridse.inference.voice import HOP_S

REACH_S = 0.3
"""Speech within that far keeps a frame as it is."""
SOME_DB, MOST_DB = 6.0, 12.0
"""Reductions by the network between which the further one sets in."""
WANTED_DB = 26.0
"""What the two reductions shall be together."""
MORE_DB = 16.0
"""The most that is added."""
WORDLESS_REACH_S = 3.0
"""Speech in the input within that far forbids what is done where there is none."""
WORDLESS_LEAST_S = 2.0
"""What must have been heard before anything counts as without words."""
WORDLESS = 0.35
"""Chance of speech below which all frames within reach lie there."""
WORDLESS_SOME_DB, WORDLESS_MOST_DB = 16.0, 20.0
"""Reductions of the mean power within reach between which it sets in: a network that kept the sound
of seconds may have heard what the detector did not."""
WORDLESS_WANTED_DB = 40.0
"""How far below the input the output lies there: it is the input itself,"""
UNDER_DB = 20.0
"""and what the network made of it lies this much lower still, since it can be made of words."""
SMOOTH_S = 0.1


class Listener:
    """Tells where in one channel of a recording nobody spoke for seconds, piece by piece.

    Args:
        fs: rate in Hz.
    """

    def __init__(self, fs: int):
        self.fs = fs
        self._heard = np.zeros(0)

    def wordless(self, piece: np.ndarray) -> np.ndarray:
        """Hear (T,), which follows the piece before: True for each 20 ms without words, (N,)."""
        count, reach = piece.size // _hop(self.fs), round(WORDLESS_REACH_S / HOP_S)
        speech = chance_of_speech(piece, self.fs)
        at = ((np.arange(count) + 0.5) * HOP_S / FRAME_S).astype(int).clip(max=speech.size - 1)
        # Of the piece before, what lies within reach is remembered: pieces may be short.
        heard = np.concatenate([self._heard, speech[at]])
        self._heard = heard[-reach:]
        if not count or heard.size * HOP_S < WORDLESS_LEAST_S:
            return np.zeros(count, bool)
        return -_least(-heard, reach)[-count:] < WORDLESS


def lower_pauses(
    dry: np.ndarray, wet: np.ndarray, fs: int, wordless: np.ndarray | None = None
) -> np.ndarray:
    """Lower `wet` where it is far below `dry` for longer than words are apart.

    Args:
        dry: input of the network, (T,).
        wet: its output, (T,).
        fs: rate in Hz.
        wordless: where nobody spoke for seconds, as of :class:`Listener`; None is nowhere.

    Returns:
        (T,), `wet` times a gain of at most 1 that changes slowly; where nobody spoke, `dry` far
        down.
    """
    hop = _hop(fs)
    count = wet.size // hop
    if count < 2:
        return wet
    before, after = _power(dry, hop, count), _power(wet, hop, count)
    least = _least(_db(before) - _db(after), round(REACH_S / HOP_S))
    more = _rise(least, SOME_DB, MOST_DB) * (WANTED_DB - least).clip(0, MORE_DB)
    part = np.zeros(count)
    if wordless is not None and wordless.any():
        reach = round(WORDLESS_REACH_S / HOP_S)
        taken = _db(_mean(before, reach)) - _db(_mean(after, reach))
        part = wordless * _rise(taken, WORDLESS_SOME_DB, WORDLESS_MOST_DB)
        part *= taken < WORDLESS_WANTED_DB
        more = np.maximum(more, part * (WORDLESS_WANTED_DB + UNDER_DB - taken))
    if not more.any():
        return wet

    def drawn(frames: np.ndarray) -> np.ndarray:
        """A value for each sample."""
        return np.interp(np.arange(wet.size), (np.arange(count) + 0.5) * hop, _smooth(frames))

    lowered = wet * (10 ** (-drawn(more) / 20)).astype(wet.dtype)
    if not part.any():
        return lowered
    left = drawn(part) * 10 ** (-WORDLESS_WANTED_DB / 20)
    return lowered + (dry * left).astype(wet.dtype)


def _smooth(frames: np.ndarray) -> np.ndarray:
    size = round(SMOOTH_S / HOP_S)
    padded = np.pad(frames, (size // 2, size - 1 - size // 2), mode="edge")
    return np.convolve(padded, np.ones(size) / size, "valid")


def _hop(fs: int) -> int:
    return max(round(HOP_S * fs), 1)


def _power(wav: np.ndarray, hop: int, count: int) -> np.ndarray:
    frames = wav[: count * hop].reshape(count, hop).astype(np.float64)
    return np.square(frames - frames.mean(1, keepdims=True)).mean(1)


def _db(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(power + 1e-14)


def _rise(value: np.ndarray, some: float, most: float) -> np.ndarray:
    return ((value - some) / (most - some)).clip(0, 1)


def _least(values: np.ndarray, reach: int) -> np.ndarray:
    """Smallest of the values (N,) within `reach` of each."""
    padded = np.pad(values, reach, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(1)


def _mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean of the values (N,) within `reach` of each; fewer at the ends."""
    window = np.ones(2 * reach + 1)
    total = np.convolve(values, window)[reach : reach + values.size]
    return total / np.convolve(np.ones(values.size), window)[reach : reach + values.size]
