"""Loudness of a programme by ITU-R BS.1770-4, measured block by block whatever the length.

pyloudnorm, whose filters these are in another form, wants the whole recording in memory.
"""

import math

import numpy as np
from scipy.signal import lfilter

STEP_S = 0.1
"""Blocks of 0.4 s begin this far apart."""
STEPS = 4
SILENT_LUFS = -70.0
"""Blocks below count as silence."""
RELATIVE_LU = -10.0
"""Blocks that far below the others' mean do not count either."""
OFFSET = -0.691


class Loudness:
    """A meter for left, right and centre channels, all of one weight.

    Args:
        fs: rate in Hz.
        channels: of the recording.
    """

    def __init__(self, fs: int, channels: int):
        self.fs, self._filters = fs, k_weighting(fs)
        self._states = [np.zeros((channels, 2)) for _ in self._filters]
        self._rest = np.zeros(0)
        self._done = 0
        self._steps: list[float] = []

    def add(self, block: np.ndarray) -> None:
        """Hear a block (C, n)."""
        wav = block.astype(np.float64)
        for index, (b, a) in enumerate(self._filters):
            wav, self._states[index] = lfilter(b, a, wav, axis=1, zi=self._states[index])
        power = np.concatenate([self._rest, np.square(wav).sum(0)])
        while True:
            # 0.1 s is no whole number of samples at every rate.
            size = round((len(self._steps) + 1) * STEP_S * self.fs) - self._done
            if size > power.size:
                break
            self._steps.append(float(power[:size].mean()))
            self._done, power = self._done + size, power[size:]
        self._rest = power

    def value(self) -> float | None:
        """Integrated loudness in LUFS; None of what is shorter than 0.4 s or silent."""
        if len(self._steps) < STEPS:
            return None
        blocks = np.convolve(self._steps, np.ones(STEPS) / STEPS, "valid")
        heard = blocks[blocks > _power(SILENT_LUFS)]
        if not heard.size:
            return None
        heard = heard[heard > heard.mean() * 10 ** (RELATIVE_LU / 10)]
        return OFFSET + 10 * math.log10(heard.mean())


def _power(lufs: float) -> float:
    return 10 ** ((lufs - OFFSET) / 10)


def k_weighting(fs: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Coefficients (b, a) of the shelf for the head and of the high-pass, for any rate.

    The standard gives them for 48 kHz; their analogue forms are those of libebur128.
    """
    k, q = math.tan(math.pi * 1681.974450955533 / fs), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = (
        np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k])
        / a0,
        np.array([a0, 2 * (k * k - 1), 1 - k / q + k * k]) / a0,
    )
    k, q = math.tan(math.pi * 38.13547087602444 / fs), 0.5003270373238773
    a0 = 1 + k / q + k * k
    highpass = (np.array([1.0, -2.0, 1.0]), np.array([a0, 2 * (k * k - 1), 1 - k / q + k * k]) / a0)
    return [shelf, highpass]
