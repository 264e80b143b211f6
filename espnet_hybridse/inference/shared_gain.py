"""One gain for all channels of a recording, so that the place of every sound stays where it was."""

import numpy as np
import torch

from espnet_hybridse.nn.spectrum import WINDOW_MS, istft, n_fft, stft

CANCELLED = 0.1
"""Below this share of the channels' mean power, their average has cancelled itself."""


def reference(channels: np.ndarray) -> np.ndarray:
    """(C, T) -> (T,): the channels' average or, where they cancel out, the loudest of them."""
    average = channels.mean(0)
    powers = np.square(channels).mean(1)
    if np.square(average).mean() >= CANCELLED * powers.mean():
        return average
    return channels[powers.argmax()]


def apply_gain(
    channels: np.ndarray, noisy: np.ndarray, enhanced: np.ndarray, fs: int
) -> np.ndarray:
    """Give every channel the gain that leads from `noisy` to `enhanced`, bin by bin.

    Our choice; the paper is about one channel. Level and phase differences between channels stay
    exactly as they are, at the price of a gain of at most 1 and no change of phase.

    Args:
        channels: (C, T) float32.
        noisy, enhanced: (T,) of their :func:`reference`.
        fs: one of the seven rates in Hz.

    Returns:
        (C, T).
    """
    size = channels.shape[1]
    hop = n_fft(fs, WINDOW_MS["disc"]) // 2
    # Whole hops: samples past the last one lie under the edge of a single window.
    padding = -size % hop + 2 * hop
    rows = np.concatenate([channels, noisy[None], enhanced[None]])
    padded = torch.from_numpy(np.pad(rows, ((0, 0), (0, padding))).astype(np.float32))
    spectra = stft(padded, fs, WINDOW_MS["disc"])
    level, wanted = spectra[-2].abs(), spectra[-1].abs()
    gain = (wanted / level.clamp_min(1e-9)).clamp(max=1.0)
    length = size + padding
    return istft(spectra[:-2] * gain, fs, WINDOW_MS["disc"], length)[:, :size].numpy()
