"""Reverberation, with the early reflections as the target the enhancer should give."""

from dataclasses import dataclass, field

import numpy as np
from scipy.signal import oaconvolve


@dataclass(frozen=True)
class Reverberation:
    """Convolution with a room response; the target keeps `early_ms` after the direct path.

    The direct path's delay is taken out of both, so that the target stays aligned with the dry
    speech (and with its tokens), and its height is set to 1, so that the level stays. What would
    sound after the speech's end is cut off, of a response longer than the speech too.

    rir: (R,) at the speech's rate
    """

    rir: np.ndarray = field(compare=False, repr=False)
    early_ms: float = 50.0

    def __post_init__(self):
        if not self.early_ms >= 0:
            raise ValueError(f"reverberation: early_ms={self.early_ms}; accepted: 0 ms or more")
        if self.rir.ndim != 1 or not self.rir.any():
            raise ValueError(f"reverberation: rir of shape {self.rir.shape} is empty or silent")

    def apply(
        self, speech: np.ndarray, fs: int, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """The reverberant speech, (T,) float32; `rng` plays no part."""
        return self._convolve(speech, self.rir.size)

    def target(self, speech: np.ndarray, fs: int) -> np.ndarray:
        """Speech (T,) at `fs` Hz with its direct path and early reflections only, float32.

        Of `early_ms` 0 it is the dry speech, with the sign of the direct path: half of the ringing
        of a fractional delay would colour it.
        """
        if not self.early_ms:
            return (np.sign(self.rir[self.direct]) * speech).astype(np.float32)
        return self._convolve(speech, self.direct + int(round(self.early_ms * fs / 1000)) + 1)

    @property
    def direct(self) -> int:
        """Delay of the direct path in samples."""
        return int(np.abs(self.rir).argmax())

    def _convolve(self, speech: np.ndarray, end: int) -> np.ndarray:
        direct = self.direct
        # What lies before the peak is the ringing of its fractional delay: it belongs to it.
        rir = self.rir / np.abs(self.rir[direct])
        return oaconvolve(speech, rir[:end])[direct : direct + speech.size].astype(np.float32)
