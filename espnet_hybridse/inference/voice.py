"""Where somebody speaks: frames whose spectrum has the period of a voice."""

import numpy as np

from espnet_hybridse.inference.frames import hop_of

PITCH_HZ = (70.0, 400.0)
"""Where voices are looked for."""
VOICE_HZ = (60.0, 1500.0)
"""What of the spectrum shows their period."""
VOICED = 0.5
"""Periodicity, of 1, from which on a frame counts as voiced."""


class Voice:
    """Spectra of frames at one rate, and how periodic they are.

    Args:
        fs: rate in Hz.

    Attributes:
        hop, size: of frames, in samples.
        hz: of the bins of a spectrum.
        within: which of them show the period of a voice.
    """

    def __init__(self, fs: int):
        self.hop = hop_of(fs)
        self.size = 2 * self.hop
        self.hz = np.fft.rfftfreq(self.size, 1 / fs)
        self.within = (self.hz >= VOICE_HZ[0]) & (self.hz <= VOICE_HZ[1])
        self._window = np.hanning(self.size + 1)[:-1]
        first, last = int(fs / PITCH_HZ[1]), min(int(fs / PITCH_HZ[0]) + 1, self.hop)
        self._lags = slice(max(first, 1), max(last, first + 2))

    def frames(self, wav: np.ndarray) -> np.ndarray:
        """Whole frames of (T,) as a view, (N, size)."""
        return np.lib.stride_tricks.sliding_window_view(wav, self.size)[:: self.hop]

    def power(self, frames: np.ndarray) -> np.ndarray:
        """(N, size) -> (N, bins); the sum of a frame is its mean square."""
        spectra = np.fft.rfft((frames - frames.mean(1, keepdims=True)) * self._window)
        return np.square(np.abs(spectra)) * (2 / np.square(self._window).sum() / self.size)

    def periodicity(self, power: np.ndarray) -> np.ndarray:
        """(N, bins) -> (N,), 0 to 1: largest normalised autocorrelation at a voice's periods."""
        voice = np.fft.irfft(np.where(self.within, power, 0.0), self.size, axis=1)
        return (voice[:, self._lags] / np.maximum(voice[:, :1], 1e-30)).max(1).clip(0, 0.999)
