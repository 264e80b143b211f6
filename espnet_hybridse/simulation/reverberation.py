"""Reverberation, with the early reflections as the target the enhancer should give."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import oaconvolve


@dataclass(frozen=True)
class Reverberation:
    """Convolution with a room response; the target keeps `early_ms` after the direct path."""

    early_ms: float = 50.0

    def __post_init__(self):
        if not self.early_ms >= 0:
            raise ValueError(f"reverberation: early_ms={self.early_ms}; accepted: 0 ms or more")

    def apply(self, speech: np.ndarray, fs: int, rir: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the reverberant speech and its early target, both (T,) float32.

        The direct path's delay is taken out of both, so that the target stays aligned with the
        dry speech (and with its tokens), and its height is set to 1, so that the level stays.
        """
        direct = int(np.abs(rir).argmax())
        # What lies before the peak is the ringing of its fractional delay: it belongs to it.
        rir = rir / np.abs(rir[direct])
        early = rir[: direct + int(round(self.early_ms * fs / 1000)) + 1]
        cut = slice(direct, direct + speech.size)
        return (
            oaconvolve(speech, rir)[cut].astype(np.float32),
            oaconvolve(speech, early)[cut].astype(np.float32),
        )
