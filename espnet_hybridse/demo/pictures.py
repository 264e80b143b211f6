"""Spectrograms and the fusion's mask as small pictures, made while the sound goes by."""

import base64
import io

import numpy as np

COLUMNS = 900
"""Most columns of a picture: of a long recording a column is the mean of many frames."""
RANGE_DB = 80.0
SOUND = [(0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122), (229, 80, 100),
         (251, 135, 97), (254, 194, 135), (252, 253, 191)]  # fmt: skip
"""Colours from silent to loud (matplotlib's magma)."""
MASK = [(217, 95, 2), (244, 241, 234), (31, 119, 180)]
"""Colours from M = 0, all of Gen., to M = 1, all of Dis."""
BIN_HZ, FRAMES_S = 50, 100
"""Grid of a mask."""


class Strip:
    """The spectrogram of one channel in constant memory: windows of 20 ms every 10 ms.

    Args:
        fs: rate in Hz.
        samples: expected; what comes later goes into the last column.
    """

    def __init__(self, fs: int, samples: int):
        self._size = max(fs // 50, 2)
        self._hop = self._size // 2
        frames = max((samples - self._size) // self._hop + 1, 1)
        self._each = -(-frames // COLUMNS)
        columns = -(-frames // self._each)
        self._power = np.zeros((columns, self._size // 2 + 1))
        self._counts = np.zeros(columns)
        self._rest = np.zeros(0, np.float32)
        self._frames = 0
        self._window = np.hanning(self._size + 2)[1:-1]

    def add(self, wav: np.ndarray) -> None:
        """Hear (n,) more samples."""
        wav = np.concatenate([self._rest, wav])
        count = max((wav.size - self._size) // self._hop + 1, 0)
        self._rest = wav[count * self._hop :]
        if not count:
            return
        frames = np.lib.stride_tricks.sliding_window_view(wav, self._size)[:: self._hop][:count]
        power = np.square(np.abs(np.fft.rfft(frames * self._window)))
        columns = (self._frames + np.arange(count)) // self._each
        columns = columns.clip(max=len(self._counts) - 1)
        np.add.at(self._power, columns, power)
        np.add.at(self._counts, columns, 1)
        self._frames += count

    def level(self) -> np.ndarray:
        """Mean power in dB, (columns, bins)."""
        mean = self._power / np.maximum(self._counts, 1)[:, None]
        return 10 * np.log10(mean / self._window.sum() ** 2 + 1e-12)

    def picture(self, peak_db: float) -> str:
        """Data URI, coloured from 80 dB below `peak_db`, which of all signals should be one."""
        return drawn((self.level() - peak_db) / RANGE_DB + 1, SOUND)


class MaskStrip:
    """The mask of a recording, out of those of its pieces.

    Args:
        seconds: of the recording.
        fs: its rate in Hz; a mask may reach further.
    """

    def __init__(self, seconds: float, fs: int):
        frames = int(seconds * FRAMES_S) + 2
        self._each = -(-frames // COLUMNS)
        columns = -(-frames // self._each)
        self._sums = np.zeros((columns, max(fs // 2 // BIN_HZ, 1)))
        self._counts = np.zeros((columns, 1))

    def add(self, start_s: float, mask: np.ndarray) -> None:
        """Hear of a piece's mask (frames of 10 ms, bins of 50 Hz); where two overlap both count."""
        columns = (round(start_s * FRAMES_S) + np.arange(len(mask))) // self._each
        inside = columns < len(self._sums)
        bins = min(mask.shape[1], self._sums.shape[1])
        np.add.at(self._sums[:, :bins], columns[inside], mask[inside, :bins])
        np.add.at(self._counts, columns[inside], 1)

    def picture(self) -> str | None:
        """Data URI; None where no mask was there."""
        if not self._counts.any():
            return None
        return drawn(self._sums / np.maximum(self._counts, 1), MASK)


def drawn(values: np.ndarray, colours: list[tuple[int, int, int]]) -> str:
    """(columns, rows from below) of 0 to 1 as the data URI of a WebP picture."""
    from PIL import Image

    places = np.linspace(0, 1, len(colours))
    image = np.stack([np.interp(values.T[::-1], places, one) for one in zip(*colours, strict=True)])
    buffer = io.BytesIO()
    picture = Image.fromarray(np.moveaxis(image, 0, -1).round().astype(np.uint8))
    picture.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
