"""Mel-cepstral distortion after time warping, as in the scripts of the 2024 and 2025 challenges."""

import numpy as np

from espnet_hybridse.scoring.metrics.metric import Metric, MetricFailed

SIZE, HOP = 1024, 256
ORDER_AND_WARP = {
    8000: (13, 0.41), 16000: (23, 0.42), 22050: (34, 0.45), 24000: (34, 0.46),
    32000: (36, 0.49), 44100: (39, 0.53), 48000: (39, 0.55),
}  # fmt: skip


class Mcd(Metric):
    """MCD in dB of SPTK mel-cepstra, the 0th coefficient included, over a FastDTW path."""

    key = name = "MCD"
    category = "intrusive"
    needs_reference = True
    range = (0.0, float("inf"))
    higher_is_better = False
    source = "challenge's formula, pysptk and fastdtw"
    extra = "mcd"
    modules = ("pysptk", "fastdtw")

    def compute(self, inf, ref, fs, context):
        from fastdtw import fastdtw
        from scipy.spatial.distance import euclidean

        if fs not in ORDER_AND_WARP:
            raise MetricFailed(f"fs={fs} Hz is not one of {', '.join(map(str, ORDER_AND_WARP))}")
        if ref.size < SIZE:
            raise MetricFailed(f"shorter than one window of {SIZE} samples")
        mine, clean = cepstra(inf, fs), cepstra(ref, fs)
        _, path = fastdtw(mine, clean, dist=euclidean)
        rows, columns = np.array(path).T
        squares = ((mine[rows] - clean[columns]) ** 2).sum(axis=1)
        return float(np.mean(10 / np.log(10) * np.sqrt(2 * squares)))


def cepstra(wav: np.ndarray, fs: int) -> np.ndarray:
    """(T,) -> (T', order + 1) mel-cepstral coefficients."""
    import pysptk

    order, warp = ORDER_AND_WARP[fs]
    frames = np.lib.stride_tricks.sliding_window_view(wav.astype(np.float64), SIZE)[::HOP]
    window = pysptk.sptk.hamming(SIZE)
    return np.stack([pysptk.mcep(f * window, order, warp, eps=1e-6, etype=1) for f in frames])
