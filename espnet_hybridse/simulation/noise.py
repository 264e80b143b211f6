"""Additive noise at an SNR counted over the parts that are not silent."""

from dataclasses import dataclass

import numpy as np

FRAME_MS = 32
ACTIVE_SHARE = 0.01
"""A frame counts when its power is at least this share of the mean (ESPnet's rule)."""


@dataclass(frozen=True)
class AdditiveNoise:
    """Noise added so that active speech stands `snr_db` above active noise."""

    snr_db: float

    def __post_init__(self):
        if not -60 <= self.snr_db <= 100:
            raise ValueError(f"noise: snr_db={self.snr_db}; accepted: -60 to 100 dB")

    def apply(self, speech: np.ndarray, fs: int, noise: np.ndarray) -> np.ndarray:
        """Return speech (T,) plus noise (T,) scaled to the SNR, float32, at `fs` Hz."""
        return speech + self.scaled(speech, fs, noise)

    def scaled(self, speech: np.ndarray, fs: int, noise: np.ndarray) -> np.ndarray:
        """The noise (T,) at the level it has in the mixture, float32."""
        ratio = active_power(speech, fs) / max(active_power(noise, fs), 1e-20)
        return (noise * np.sqrt(ratio * 10 ** (-self.snr_db / 10))).astype(np.float32)


def active_power(wav: np.ndarray, fs: int) -> float:
    """Mean square of the 32 ms frames of (T,) that hold at least 1 % of the mean power."""
    frame = min(max(fs * FRAME_MS // 1000, 1), wav.size)
    frames = wav[: wav.size // frame * frame].reshape(-1, frame).astype(np.float64)
    powers = np.mean(np.square(frames), axis=1)
    return float(powers[powers >= ACTIVE_SHARE * powers.mean()].mean())
