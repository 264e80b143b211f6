"""Values of frames of 20 ms: levels, and what lies within reach of each."""

import numpy as np

HOP_S = 0.02
"""From one frame to the next; those of spectra are twice as long."""


def hop_of(fs: int) -> int:
    """Samples of a frame at `fs` Hz."""
    return max(round(HOP_S * fs), 1)


def frames_of(seconds: float) -> int:
    """How many frames last so long."""
    return round(seconds / HOP_S)


def power(wav: np.ndarray, hop: int) -> np.ndarray:
    """Variance of each whole frame of (T,) samples, (N,) float64."""
    frames = wav[: wav.size // hop * hop].reshape(-1, hop).astype(np.float64)
    return np.square(frames - frames.mean(1, keepdims=True)).mean(1)


def in_db(power: np.ndarray) -> np.ndarray:
    """Decibels; of nothing at all -140."""
    return 10 * np.log10(power + 1e-14)


def rise(value: np.ndarray, some: float, most: float) -> np.ndarray:
    """0 up to `some`, 1 from `most` on, a line between."""
    return ((value - some) / (most - some)).clip(0, 1)


def least(values: np.ndarray, reach: int) -> np.ndarray:
    """Smallest of the values (N,) within `reach` of each."""
    padded = np.pad(values, reach, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(1)


def mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean of the values (N,) within `reach` of each; fewer at the ends."""
    window = np.ones(2 * reach + 1)
    total = np.convolve(values, window)[reach : reach + values.size]
    return total / np.convolve(np.ones(values.size), window)[reach : reach + values.size]


def taken_db(before: np.ndarray, after: np.ndarray, reach: int) -> np.ndarray:
    """How far the mean power (N,) within `reach` of each frame came down."""
    return in_db(mean(before, reach)) - in_db(mean(after, reach))


def smooth(values: np.ndarray, size: int) -> np.ndarray:
    """Moving average of (N,) over `size` frames."""
    padded = np.pad(values, (size // 2, size - 1 - size // 2), mode="edge")
    return np.convolve(padded, np.ones(size) / size, "valid")
