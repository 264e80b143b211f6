"""Clipping at quantiles of the signal itself."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Clipping:
    """Samples outside the two quantiles are set to them."""

    min_quantile: float
    max_quantile: float

    def __post_init__(self):
        if not 0 <= self.min_quantile < self.max_quantile <= 1:
            raise ValueError(
                f"clipping: min={self.min_quantile}, max={self.max_quantile}; "
                "accepted: 0 <= min < max <= 1"
            )

    def __str__(self) -> str:
        return f"clipping(min={self.min_quantile},max={self.max_quantile})"

    def apply(
        self, speech: np.ndarray, fs: int, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Clip (T,) float32; `fs` and `rng` play no part."""
        low, high = np.quantile(speech, [self.min_quantile, self.max_quantile])
        return np.clip(speech, low, high).astype(np.float32)
