"""Stretches in which the network heard no speech, taken down further than it did.

Small networks leave a murmur of noise where nobody speaks. Where they took away most of the sound
for a while themselves, more can go; where they kept some of it, speech is near, and nothing goes.
Our choice.
"""

import numpy as np

HOP_S = 0.02
REACH_S = 0.3
"""Speech within that far keeps a frame as it is."""
SOME_DB, MOST_DB = 6.0, 12.0
"""Reductions by the network between which the further one sets in."""
WANTED_DB = 26.0
"""What the two reductions shall be together."""
MORE_DB = 16.0
"""The most that is added."""
SMOOTH_S = 0.1


def lower_pauses(dry: np.ndarray, wet: np.ndarray, fs: int) -> np.ndarray:
    """Lower `wet` where it is far below `dry` for longer than words are apart.

    Args:
        dry: input of the network, (T,).
        wet: its output, (T,).
        fs: rate in Hz.

    Returns:
        (T,), `wet` times a gain of at most 1 that changes slowly.
    """
    hop = max(round(HOP_S * fs), 1)
    count = wet.size // hop
    if count < 2:
        return wet
    reduction = _level(dry, hop, count) - _level(wet, hop, count)
    reach = round(REACH_S / HOP_S)
    padded = np.pad(reduction, reach, mode="edge")
    least = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(1)
    part = ((least - SOME_DB) / (MOST_DB - SOME_DB)).clip(0, 1)
    more = part * (WANTED_DB - least).clip(0, MORE_DB)
    size = round(SMOOTH_S / HOP_S)
    smooth = np.convolve(np.pad(more, (size // 2, size - 1 - size // 2), mode="edge"),
                         np.ones(size) / size, "valid")  # fmt: skip
    if not smooth.any():
        return wet
    gain = np.interp(np.arange(wet.size), (np.arange(count) + 0.5) * hop, smooth)
    return wet * (10 ** (-gain / 20)).astype(wet.dtype)


def _level(wav: np.ndarray, hop: int, count: int) -> np.ndarray:
    frames = wav[: count * hop].reshape(count, hop).astype(np.float64)
    return 10 * np.log10(np.square(frames - frames.mean(1, keepdims=True)).mean(1) + 1e-14)
