"""How the fusion divides the spectrum between its branches."""

from collections.abc import Iterator

import numpy as np

EDGES_HZ = (0, 1000, 2000, 4000, 8000, 24000)
BIN_HZ = 50
EXTREME = 0.1
LEVEL_DB = 40.0
"""Bins this far below the loudest one count as silence: the mask matters little there."""
TITLES = ("Band (kHz)", "mean M", "deviation", "M > 0.9 (Dis.)", "M < 0.1 (Gen.)", "bins")


class MaskStatistics:
    """Statistics of M over the audible bins of many utterances, by frequency band."""

    def __init__(self) -> None:
        # count, sum, sum of squares, near one, near zero
        self.sums = np.zeros((len(EDGES_HZ) - 1, 5))

    def add(self, mask: np.ndarray, level: np.ndarray) -> None:
        """One utterance: its mask and the magnitude of its input, (T, F) both, bins of 50 Hz."""
        audible = level > level.max() * 10 ** (-LEVEL_DB / 20)
        for row, (low, high) in enumerate(zip(EDGES_HZ[:-1], EDGES_HZ[1:], strict=True)):
            part = slice(low // BIN_HZ, high // BIN_HZ)
            values = mask[:, part][audible[:, part]].astype(float)
            near_one, near_zero = values > 1 - EXTREME, values < EXTREME
            self.sums[row] += [
                values.size,
                values.sum(),
                np.square(values).sum(),
                near_one.sum(),
                near_zero.sum(),
            ]

    def rows(self) -> Iterator[list[str]]:
        """Cells of each band that has any bin, in the order of `TITLES`."""
        for (low, high), (count, total, squares, ones, zeros) in zip(
            zip(EDGES_HZ[:-1], EDGES_HZ[1:], strict=True), self.sums, strict=True
        ):
            if not count:
                continue
            mean = total / count
            deviation = np.sqrt(max(squares / count - mean**2, 0.0))
            shares = [f"{100 * share / count:.1f} %" for share in (ones, zeros)]
            band = f"{low / 1000:g} to {high / 1000:g}"
            yield [band, f"{mean:.3f}", f"{deviation:.3f}", *shares, f"{int(count)}"]
