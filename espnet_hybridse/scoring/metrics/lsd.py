"""Log-spectral distance, as in the scripts of the 2024 and 2025 challenges."""

import numpy as np

from espnet_hybridse.scoring.metrics.metric import Metric

EPS = 1e-8


class Lsd(Metric):
    """LSD (natural logarithm of power) after the best scaling of the enhanced signal.

    0 for equal files, except that their formula gives |log 1e-8| = 18.4 to frames in which the
    clean file is digital silence: the same offset for every system, so differences still hold.
    """

    key = name = "LSD"
    category = "intrusive"
    needs_reference = True
    range = (0.0, float("inf"))
    higher_is_better = False
    source = "challenge's formula, 32/16 ms, NumPy"

    def compute(self, inf, ref, fs, context):
        ref, inf = ref.astype(np.float64), inf.astype(np.float64)
        inf = inf * (ref @ inf) / (inf @ inf + EPS)
        n_fft, hop_length = int(0.032 * fs), int(0.016 * fs)
        ref_spec = magnitude(ref, n_fft, hop_length)
        inf_spec = magnitude(inf, n_fft, hop_length)
        difference = np.log(ref_spec**2 / (inf_spec + EPS) ** 2 + EPS)
        return float(np.mean(np.sqrt(np.mean(difference**2, axis=1))))


def magnitude(wav: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """(T,) -> (T', F): centred frames over zero padding, periodic Hann window (librosa's STFT)."""
    wav = np.pad(wav, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(wav, n_fft)[::hop_length]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return np.abs(np.fft.rfft(frames * window))
