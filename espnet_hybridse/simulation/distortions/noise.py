"""Additive noise at an SNR counted over the parts that are not silent."""

from dataclasses import dataclass, field

import numpy as np

FRAME_MS = 32
ACTIVE_SHARE = 0.01
"""A frame counts when its power is at least this share of the mean (ESPnet's rule)."""


@dataclass(frozen=True)
class AdditiveNoise:
    """Noise added so that active speech stands `snr_db` above active noise.

    noise: (N,) at the speech's rate, of any length
    """

    snr_db: float
    noise: np.ndarray = field(compare=False, repr=False)

    def __post_init__(self):
        if not -60 <= self.snr_db <= 100:
            raise ValueError(f"noise: snr_db={self.snr_db}; accepted: -60 to 100 dB")
        if self.noise.ndim != 1 or not self.noise.size:
            raise ValueError(f"noise: shape {self.noise.shape}; accepted: (N,), N >= 1")

    def apply(
        self, speech: np.ndarray, fs: int, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Return speech (T,) plus a stretch of the noise at the SNR, float32, at `fs` Hz."""
        return speech + scale_noise(
            speech, fit_noise(self.noise, speech.size, rng), fs, self.snr_db
        )


def fit_noise(noise: np.ndarray, length: int, rng: np.random.Generator | None) -> np.ndarray:
    """(length,) of noise (N,): a random stretch of a longer one, a shorter one repeated.

    Without `rng` the stretch begins at the noise's start.
    """
    if noise.size == length:
        return noise
    if noise.size > length:
        start = 0 if rng is None else int(rng.integers(noise.size - length))
        return noise[start : start + length]
    return np.resize(np.roll(noise, 0 if rng is None else -int(rng.integers(noise.size))), length)


def scale_noise(speech: np.ndarray, noise: np.ndarray, fs: int, snr_db: float) -> np.ndarray:
    """The noise (T,) at the level it has `snr_db` below speech (T,), float32."""
    ratio = active_power(speech, fs) / max(active_power(noise, fs), 1e-20)
    return (noise * np.sqrt(ratio * 10 ** (-snr_db / 10))).astype(np.float32)


def active_power(wav: np.ndarray, fs: int) -> float:
    """Mean square of the 32 ms frames of (T,) that hold at least 1 % of the mean power."""
    frame = min(max(fs * FRAME_MS // 1000, 1), wav.size)
    frames = wav[: wav.size // frame * frame].reshape(-1, frame).astype(np.float64)
    powers = np.mean(np.square(frames), axis=1)
    return float(powers[powers >= ACTIVE_SHARE * powers.mean()].mean())
