"""The rate that a recording fills: audio books at 48 kHz often hold no more than 8."""

import numpy as np

from espnet_hybridse.fileio.audio import nearest_rate

WINDOW_SECONDS = 0.032
THRESHOLD_DB = -50.0
"""Window, half-window hop and threshold are the challenge's."""

BLOCK = 1024


def effective_rate(wav: np.ndarray, fs: int) -> int:
    """Lowest of the seven rates that holds the content of `wav` (T,), never above `fs` Hz.

    Content ends at the highest frequency whose mean power is within 50 dB of the strongest one's.
    """
    window = int(WINDOW_SECONDS * fs)
    hop, taper = window // 2, np.hanning(window).astype(np.float32)
    if wav.size < window:
        wav = np.pad(wav, (0, window - wav.size))
    frames = np.lib.stride_tricks.sliding_window_view(wav, window)[::hop]
    power = np.zeros(window // 2 + 1)
    for start in range(0, len(frames), BLOCK):  # an hour of audio at once would need gigabytes
        spectrum = np.fft.rfft(frames[start : start + BLOCK] * taper)
        power += (np.abs(spectrum) ** 2).sum(axis=0)
    loud = np.flatnonzero(power > power.max() * 10 ** (THRESHOLD_DB / 10))
    return min(nearest_rate(int(np.ceil(2 * loud[-1] * fs / window))), fs)
