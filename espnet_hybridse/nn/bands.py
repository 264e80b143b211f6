"""Merged frequency bands on the 50-Hz grid: fine below, as coarse as hearing above."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

TOP_HZ = 24000.0
"""Highest frequency that bands reach: Nyquist's of the highest rate."""


def erb_number(hz: float) -> float:
    """Number of equivalent rectangular bandwidths below `hz` (Glasberg and Moore 1990)."""
    return 21.4 * math.log10(1.0 + 0.00437 * hz)


def erb_hertz(number: float) -> float:
    """Inverse of :func:`erb_number`."""
    return (10.0 ** (number / 21.4) - 1.0) / 0.00437


@lru_cache(maxsize=8)
def band_centres(single: int, bin_hz: float, erb_step: float) -> tuple[float, ...]:
    """Centres in Hz: `single` bins one by one, then `erb_step` ERB apart, the last at 24 kHz.

    Raises:
        ValueError: bands narrower than a bin, or no room above the single bins.
    """
    first = single * bin_hz
    if single < 1 or erb_step <= 0.0 or first >= TOP_HZ:
        raise ValueError(
            f"single={single} bins and erb_step={erb_step}: expected at least one single bin, "
            f"fewer than {TOP_HZ / bin_hz:.0f}, and a step above 0"
        )
    low, high = erb_number(first), erb_number(TOP_HZ)
    steps = max(1, round((high - low) / erb_step))
    merged = [erb_hertz(low + (high - low) * k / steps) for k in range(steps + 1)]
    if merged[1] - merged[0] < bin_hz:
        raise ValueError(
            f"erb_step={erb_step} above {first:g} Hz makes bands of {merged[1] - merged[0]:.0f} "
            f"Hz, narrower than a bin of {bin_hz:g} Hz; take a larger step or more single bins"
        )
    return tuple(k * bin_hz for k in range(single)) + tuple(merged)


@lru_cache(maxsize=32)
def band_matrix(n_freqs: int, single: int, bin_hz: float, erb_step: float) -> Tensor:
    """Triangular weights (K, F), each column summing to one.

    Every band peaks at its centre and reaches to its neighbours' centres, so that what is spread
    from bands to bins has no steps. A lower rate has the first columns, and the first bands that
    reach into them: the same weights of a network serve all rates.
    """
    centres = torch.tensor(band_centres(single, bin_hz, erb_step), dtype=torch.float64)
    hertz = (torch.arange(n_freqs, dtype=torch.float64) * bin_hz).clamp(max=TOP_HZ)
    right = torch.searchsorted(centres, hertz).clamp(1, len(centres) - 1)
    share = (hertz - centres[right - 1]) / (centres[right] - centres[right - 1])
    matrix = torch.zeros(len(centres), n_freqs, dtype=torch.float64)
    columns = torch.arange(n_freqs)
    matrix[right - 1, columns] = 1.0 - share
    matrix[right, columns] += share
    used = int((matrix.sum(1) > 0).nonzero().max()) + 1
    return matrix[:used].float()


class Bands(nn.Module):
    """Merges bins into fixed bands and spreads bands back over bins, at any rate.

    Args:
        single: bins that stay alone, from 0 Hz (32 of 50 Hz reach to 1.6 kHz).
        erb_step: distance of the bands above, in ERB.
        bin_hz: distance of the bins: 50 for a window of 20 ms, 25 for 40 ms.

    The sizes are our choice: 65 bands at 16 kHz and 89 at 48 kHz, where there are 161 and 481
    bins. Nothing here is learned or saved.
    """

    def __init__(self, single: int = 32, erb_step: float = 0.42, bin_hz: float = 50.0):
        super().__init__()
        self.key = (single, float(bin_hz), float(erb_step))
        band_centres(*self.key)  # refuses what makes no bands
        self._placed: dict[tuple, tuple[Tensor, Tensor]] = {}

    def count(self, n_freqs: int) -> int:
        """Bands of a spectrum with `n_freqs` bins."""
        return band_matrix(n_freqs, *self.key).shape[0]

    def merge(self, x: Tensor) -> Tensor:
        """Average (…, F) to (…, K)."""
        merge, _ = self._weights(x.shape[-1], x)
        return x.contiguous() @ merge  # one product, not one for each frame

    def spread(self, x: Tensor, n_freqs: int) -> Tensor:
        """Interpolate (…, K) to (…, F); a constant stays that constant.

        Raises:
            ValueError: K is not the number of bands that F bins have.
        """
        _, spread = self._weights(n_freqs, x)
        if x.shape[-1] != spread.shape[0]:
            raise ValueError(
                f"{x.shape[-1]} bands do not belong to {n_freqs} bins, which have {spread.shape[0]}"
            )
        return x.contiguous() @ spread

    def _weights(self, n_freqs: int, like: Tensor) -> tuple[Tensor, Tensor]:
        key = (n_freqs, like.device, like.dtype)
        if key not in self._placed:
            spread = band_matrix(n_freqs, *self.key)
            merge = (spread / spread.sum(1, keepdim=True)).t()
            placed = (w.to(like.device, like.dtype).contiguous() for w in (merge, spread))
            self._placed[key] = tuple(placed)
        return self._placed[key]

    def __getstate__(self):
        return {**self.__dict__, "_placed": {}}
