"""Composite measures CSIG, CBAK and COVL (Hu and Loizou, 2008)."""

import numpy as np

from espnet_hybridse.scoring.metrics.metric import Metric, MetricFailed
from espnet_hybridse.scoring.metrics.pesq import Pesq

WEIGHTS = {  # constant, LLR, PESQ, WSS, segmental SNR
    "CSIG": (3.093, -1.029, 0.603, -0.009, 0.0),
    "CBAK": (1.634, 0.0, 0.478, -0.007, 0.063),
    "COVL": (1.594, -0.512, 0.805, -0.007, 0.0),
}
KEPT = 0.95
"""Share of the frames, the least distorted ones, whose LLR and WSS are averaged."""
EPS = np.finfo(np.float64).eps
# Klatt's critical bands: centre and width in Hz.
CENTRES = np.array([
    50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17,
    3597.63,
])  # fmt: skip
WIDTHS = np.array([
    70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423,
    153.823, 168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465,
    346.136,
])  # fmt: skip


class Composite(Metric):
    """A regression on PESQ, log-likelihood ratio, weighted spectral slope and segmental SNR.

    At 8 kHz with narrow-band PESQ, else at 16 kHz with wide-band PESQ: what papers call CSIG,
    CBAK and COVL today. The weights were found with narrow-band PESQ before its mapping to MOS.
    """

    category = "intrusive"
    needs_reference = True
    rate = Pesq.rate
    range = (1.0, 5.0)
    source = "Hu and Loizou 2008, NumPy; pesq 0.0.4"
    modules = Pesq.modules

    def __init__(self, key: str):
        self.key = self.name = key

    def compute(self, inf, ref, fs, context):
        constant, *weights = WEIGHTS[self.key]
        parts = context.once("composite", lambda: self.parts(inf, ref, fs, context))
        return float(np.clip(constant + np.dot(weights, parts), 1, 5))

    def parts(self, inf, ref, fs, context) -> tuple[float, float, float, float]:
        """LLR, PESQ, WSS and segmental SNR."""
        pesq = Pesq().compute(inf, ref, fs, context)
        if fs != 8000:
            inf, ref, fs = context.at_16k(inf, fs), context.at_16k(ref, fs), 16000
        if ref.size <= round(0.03 * fs):
            raise MetricFailed("shorter than one frame of 30 ms")
        mine, clean = frames(inf, fs), frames(ref, fs)
        return llr(mine, clean, fs), pesq, wss(mine, clean, fs), segmental_snr(mine, clean)


def frames(wav: np.ndarray, fs: int) -> np.ndarray:
    """(T,) -> (frames, samples): 30 ms every 7.5 ms under a Hann window, the last one left out."""
    size = round(0.03 * fs)
    hop = int(0.25 * 0.03 * fs)
    count = max((wav.size - size) // hop, 1)
    cut = np.lib.stride_tricks.sliding_window_view(wav.astype(np.float64) + EPS, size)
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, size + 1) / (size + 1)))
    return cut[::hop][:count] * window


def trimmed_mean(distortion: np.ndarray) -> float:
    """Mean of the 95 % of the frames that are the least distorted."""
    return float(np.sort(distortion)[: round(distortion.size * KEPT)].mean())


def segmental_snr(mine: np.ndarray, clean: np.ndarray) -> float:
    """Mean over frames of the SNR in dB, each within -10 and 35 dB."""
    error = np.square(clean - mine).sum(axis=1)
    snr = 10 * np.log10(np.square(clean).sum(axis=1) / (error + EPS) + EPS)
    return float(np.clip(snr, -10, 35).mean())


def llr(mine: np.ndarray, clean: np.ndarray, fs: int) -> float:
    """Log-likelihood ratio of the linear predictors of order 16 (10 below 10 kHz)."""
    order = 10 if fs < 10000 else 16
    a_mine, _ = predictor(mine, order)
    a_clean, r_clean = predictor(clean, order)
    lags = np.abs(np.subtract.outer(np.arange(order + 1), np.arange(order + 1)))
    matrix = r_clean[:, lags]
    energies = [np.einsum("ni,nij,nj->n", a, matrix, a) for a in (a_mine, a_clean)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = energies[0] / energies[1]
    ratio[np.isnan(ratio)] = np.inf
    ratio[ratio <= 0] = 1000
    return trimmed_mean(np.log(ratio))


def predictor(cut: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """(frames, samples) -> predictors [1, -a] and autocorrelations, both (frames, order + 1).

    The Levinson-Durbin recursion, over all frames at once.
    """
    size = cut.shape[1]
    r = np.stack([(cut[:, : size - k] * cut[:, k:]).sum(axis=1) for k in range(order + 1)], axis=1)
    a = np.zeros((len(cut), order))
    error = r[:, 0].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in range(order):
            before = a[:, :i].copy()
            reflection = (r[:, i + 1] - (before * r[:, i:0:-1]).sum(axis=1)) / error
            a[:, i] = reflection
            a[:, :i] = before - reflection[:, None] * before[:, ::-1]
            error = error * (1 - reflection**2)
    return np.concatenate([np.ones((len(cut), 1)), -a], axis=1), r


def wss(mine: np.ndarray, clean: np.ndarray, fs: int) -> float:
    """Weighted spectral slope distance (Klatt, 1982) in 25 critical bands."""
    size = 2 ** int(np.ceil(np.log2(2 * mine.shape[1])))
    bank = critical_bands(size // 2, fs)
    slopes, weights = [], []
    for cut in (clean, mine):
        power = np.abs(np.fft.rfft(cut, size)[:, :-1]) ** 2
        with np.errstate(divide="ignore"):
            level = np.maximum(10 * np.log10(power @ bank.T), -100)
        slope = np.diff(level, axis=1)
        highest = 20 / (20 + level.max(axis=1, keepdims=True) - level[:, :-1])
        weights.append(highest / (1 + nearest_peak(slope, level) - level[:, :-1]))
        slopes.append(slope)
    weight = (weights[0] + weights[1]) / 2
    squares = np.square(slopes[0] - slopes[1])
    return trimmed_mean((weight * squares).sum(axis=1) / weight.sum(axis=1))


def critical_bands(bins: int, fs: int) -> np.ndarray:
    """(25, bins) Gaussian filters, cut 30 dB below their peak."""
    centre = np.floor(CENTRES / (fs / 2) * bins)[:, None]
    width = (WIDTHS / (fs / 2) * bins)[:, None]
    gain = np.log(WIDTHS[0]) - np.log(WIDTHS)[:, None]
    bank = np.exp(-11 * ((np.arange(bins) - centre) / width) ** 2 + gain)
    return bank * (bank > np.exp(-30 / (2 * 2.303)))


def nearest_peak(slope: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(frames, 24) level of the peak that each band's slope leads up to."""
    count = slope.shape[1]
    up, down = np.full_like(slope, count, dtype=int), np.full_like(slope, -1, dtype=int)
    for band in reversed(range(count)):
        after = up[:, band + 1] if band + 1 < count else count
        up[:, band] = np.where(slope[:, band] > 0, after, band)
    for band in range(count):
        before = down[:, band - 1] if band else -1
        down[:, band] = np.where(slope[:, band] <= 0, before, band)
    # A rising slope's own peak is the band before the one where it stops rising (Loizou's code).
    index = np.where(slope > 0, up - 1, down + 1)
    return np.take_along_axis(level, index, axis=1)
