"""DNSMOS of what was heard before and after, or why there is none."""

import threading

import numpy as np
import soxr

from espnet_hybridse.scoring.metrics.dnsmos import FS, Dnsmos

SECONDS = 120.0
"""Of a recording that are scored: its beginning."""
SCALES = {"OVRL": "overall", "SIG": "speech", "BAK": "background"}


class Scorer:
    """DNSMOS P.835, its network loaded once.

    Attributes:
        missing: why there are no scores here, and what helps; None if there are.
    """

    def __init__(self) -> None:
        self._metric = Dnsmos("OVRL")
        self.missing = self._metric.available()
        self._loading = threading.Lock()

    def __call__(self, wav: np.ndarray, fs: int) -> dict[str, float] | None:
        """(T,) float32 -> opinion scores from 1 to 5 by the names of `SCALES`."""
        if self.missing or not wav.any():
            return None
        with self._loading:
            self._metric.network  # noqa: B018, made by the first who asks
        return self._metric.all_scales(soxr.resample(wav, fs, FS))
