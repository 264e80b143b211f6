"""Stretches in which the network heard no speech, taken down further than it did.

Small networks leave a murmur of noise where nobody speaks. Where they took away most of the sound
for a while themselves, more can go; where they kept some of it, speech is near, and nothing goes.
Where nobody spoke for seconds, the network's own murmur is no reason to keep anything: it can be
made of words, and the input far down takes its place. Our choice.
"""

import numpy as np

from espnet_hybridse.inference.frames import (
    frames_of,
    hop_of,
    in_db,
    least,
    power,
    rise,
    smooth,
    taken_db,
)
from espnet_hybridse.inference.wordless import REACH_S as WORDLESS_REACH_S

REACH_S = 0.3
"""Speech within that far keeps a frame as it is."""
SOME_DB, MOST_DB = 6.0, 12.0
"""Reductions by the network between which the further one sets in."""
WANTED_DB = 26.0
"""What the two reductions shall be together."""
MORE_DB = 16.0
"""The most that is added."""
WORDLESS_DB = 40.0
"""How far below the input the output lies where nobody spoke for seconds: it is the input,"""
UNDER_DB = 20.0
"""and what the network made of it lies this much lower still, since it can be made of words."""
SMOOTH_S = 0.1


def lower_pauses(
    dry: np.ndarray, wet: np.ndarray, fs: int, wordless: np.ndarray | None = None
) -> np.ndarray:
    """Lower `wet` where it is far below `dry` for longer than words are apart.

    Args:
        dry: input of the network, (T,).
        wet: its output, (T,).
        fs: rate in Hz.
        wordless: how surely nobody spoke for seconds, 0 to 1 for each 20 ms, as of
            :func:`~espnet_hybridse.inference.wordless.wordless`; None is nowhere.

    Returns:
        (T,), `wet` times a gain of at most 1 that changes slowly; where nobody spoke, `dry` far
        down.
    """
    hop = hop_of(fs)
    count = wet.size // hop
    if count < 2:
        return wet
    before, after = power(dry, hop), power(wet, hop)
    lowest = least(in_db(before) - in_db(after), frames_of(REACH_S))
    more = rise(lowest, SOME_DB, MOST_DB) * (WANTED_DB - lowest).clip(0, MORE_DB)
    part = np.zeros(count)
    if wordless is not None and wordless.any():
        taken = taken_db(before, after, frames_of(WORDLESS_REACH_S))
        part = wordless * (taken < WORDLESS_DB)
        more = np.maximum(more, part * (WORDLESS_DB + UNDER_DB - taken))
    if not more.any():
        return wet

    def drawn(frames: np.ndarray) -> np.ndarray:
        """A value for each sample."""
        frames = smooth(frames, frames_of(SMOOTH_S))
        return np.interp(np.arange(wet.size), (np.arange(count) + 0.5) * hop, frames)

    lowered = wet * (10 ** (-drawn(more) / 20)).astype(wet.dtype)
    if not part.any():
        return lowered
    left = drawn(part) * 10 ** (-WORDLESS_DB / 20)
    return lowered + (dry * left).astype(wet.dtype)
