"""Bandwidth limitation: down to a lower rate and back, by one of several resamplers."""

from dataclasses import dataclass
from math import gcd

import numpy as np
import scipy.signal
import soxr

from espnet_hybridse.fileio.audio import fit_length

RESAMPLERS = ("soxr_vhq", "soxr_hq", "soxr_mq", "soxr_lq", "polyphase", "scipy")
"""Names as librosa's `res_type` knows them, so that a meta.tsv can be read by other tools."""

KAISER = {"kaiser_best": "soxr_vhq", "kaiser_fast": "soxr_mq"}
"""Resamplers that the challenge's lists name and we replace by those of like stop band."""


@dataclass(frozen=True)
class BandwidthLimitation:
    """Resampling to `fs_new` Hz and back; a no-op where `fs_new` is not below the signal's fs."""

    res_type: str
    fs_new: int

    def __post_init__(self):
        if self.res_type not in RESAMPLERS + tuple(KAISER) + ("none",):
            raise ValueError(
                f"bandwidth_limitation: resampler {self.res_type!r} is not one of "
                f"{', '.join(RESAMPLERS + tuple(KAISER))}"
            )
        if self.fs_new < 1000:
            raise ValueError(f"bandwidth_limitation: fs_new={self.fs_new} Hz is below 1000 Hz")

    def __str__(self) -> str:
        return f"bandwidth_limitation-{self.res_type}->{self.fs_new}"

    def apply(
        self, speech: np.ndarray, fs: int, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Band-limit (T,) at `fs` Hz: (T,) float32, aligned; `rng` plays no part."""
        if self.fs_new >= fs or self.res_type == "none":
            return speech
        low = _resample(speech, fs, self.fs_new, self.res_type)
        back = _resample(low, self.fs_new, fs, self.res_type)
        return fit_length(back.astype(np.float32), speech.size)


def _resample(wav: np.ndarray, fs: int, target_fs: int, res_type: str) -> np.ndarray:
    """Resample (T,) from `fs` to `target_fs` Hz: (ceil(T * target_fs / fs),)."""
    res_type = KAISER.get(res_type, res_type)
    if res_type == "polyphase":
        common = gcd(fs, target_fs)
        return scipy.signal.resample_poly(wav, target_fs // common, fs // common)
    if res_type == "scipy":
        return _fourier_resample(wav, fs, target_fs)
    return soxr.resample(wav, fs, target_fs, quality=res_type[5:].upper())


def _fourier_resample(wav: np.ndarray, fs: int, target_fs: int) -> np.ndarray:
    """Cut or extend the spectrum; padded to a length that is exact at both rates and fast."""
    common = gcd(fs, target_fs)
    length = -(-wav.size * target_fs // fs)
    unit = -(-wav.size // (fs // common))
    unit = scipy.fft.next_fast_len(unit, real=True)
    padded = fit_length(wav, unit * (fs // common))
    return scipy.signal.resample(padded, unit * (target_fs // common))[:length]
