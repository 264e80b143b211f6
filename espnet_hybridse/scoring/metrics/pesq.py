"""PESQ (ITU-T P.862): narrow band at 8 kHz, wide band at 16 kHz."""

import math

import numpy as np

from espnet_hybridse.scoring.metrics.metric import Metric, MetricFailed

BURST_S = 0.2
"""Shortest burst of speech, and shortest pause between two, that PESQ tells apart."""
MOST_BURSTS = 40
"""The C code has places for 50 and writes beyond them unchecked; our count is not its own."""
SAFE_S = 18.0
"""What cannot hold more than 45 bursts."""
FRAME_S = 0.004
STEP_DB, RANGE_DB = 3.0, 60.0
CUT_S = 1.0


class Pesq(Metric):
    """Rates other than 8 kHz are scored at 16 kHz in wide-band mode, as the challenge does.

    Narrow-band and wide-band values are on different scales; the challenge's mean mixes them over
    a set of mixed rates, and so does ours.

    The package's C code overruns where a file has more than 50 bursts of speech: it crashes, or
    gives a wrong value. A file with more than `MOST_BURSTS` is scored in pieces of at most 18 s,
    which cannot hold as many, and has their mean, weighted by length; a note in its row says so.
    """

    key = name = "PESQ"
    category = "intrusive"
    needs_reference = True
    rate = "8 kHz narrow band, else 16 kHz wide band"
    range = (-0.5, 4.65)
    source = "pesq 0.0.4"
    official = True
    modules = ("pesq",)

    def compute(self, inf, ref, fs, context):
        return context.once("pesq", lambda: self.pesq(inf, ref, fs, context))

    def pesq(self, inf, ref, fs, context) -> float:
        """The value itself; the composite measures need it too."""
        if fs == 8000:
            mode = "nb"
        else:
            mode = "wb"
            ref, inf, fs = context.at_16k(ref, fs), context.at_16k(inf, fs), 16000
        if ref.size <= SAFE_S * fs or bursts(ref, fs) <= MOST_BURSTS:
            return self.piece(inf, ref, fs, mode)
        values, weights, reason = [], [], None
        for part in pieces(ref, fs):
            try:
                values.append(self.piece(inf[part], ref[part], fs, mode))
                weights.append(part.stop - part.start)
            except MetricFailed as error:  # such as one without speech
                reason = error
        if not values:
            raise reason
        context.notes["PESQ"] = f"mean over {len(values)} pieces: too many bursts for its C code"
        return float(np.average(values, weights=weights))

    def piece(self, inf: np.ndarray, ref: np.ndarray, fs: int, mode: str) -> float:
        """One call of the package."""
        from pesq import PesqError, pesq

        value = pesq(fs, ref, inf, mode=mode, on_error=PesqError.RETURN_VALUES)
        if value == PesqError.NO_UTTERANCES_DETECTED:
            raise MetricFailed("no utterance detected in the clean or the enhanced file")
        if value == PesqError.BUFFER_TOO_SHORT:
            raise MetricFailed("shorter than the 0.25 s PESQ needs")
        if value < self.range[0]:
            raise MetricFailed(f"pesq returned error code {value}")
        return value


def bursts(wav: np.ndarray, fs: int) -> int:
    """The most bursts of speech that any threshold finds in (T,), of all bands or above 300 Hz.

    PESQ filters and sets its own threshold, so this counts rather too many than too few.
    """
    from scipy.signal import butter, sosfilt

    high = sosfilt(butter(2, 300, "high", fs=fs, output="sos"), wav)
    return max(_most_bursts(signal, fs) for signal in (wav, high))


def _most_bursts(wav: np.ndarray, fs: int) -> int:
    size, least = round(FRAME_S * fs), round(BURST_S / FRAME_S)
    frames = wav[: wav.size // size * size].astype(np.float64).reshape(-1, size)
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-20)
    most = 0
    for threshold in level.max() - np.arange(STEP_DB, RANGE_DB, STEP_DB):
        edges = np.diff(np.concatenate([[0], level > threshold, [0]]).astype(np.int8))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        apart = starts[1:] - ends[:-1] >= least  # shorter pauses are none
        starts, ends = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
        most = max(most, int(np.sum(ends - starts >= least)))
    return most


def pieces(wav: np.ndarray, fs: int) -> list[slice]:
    """(T,) cut into equal parts of at most 18 s, each end moved to the quietest place nearby."""
    count = math.ceil(wav.size / ((SAFE_S - 2 * CUT_S) * fs))
    size, reach = round(FRAME_S * fs), round(CUT_S * fs)
    cuts = [0]
    for index in range(1, count):
        start = round(index * wav.size / count) - reach
        near = np.square(wav[start : start + 2 * reach].astype(np.float64))
        power = near[: near.size // size * size].reshape(-1, size).sum(axis=1)
        cuts.append(start + int(power.argmin()) * size)
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], wav.size], strict=True)]
