"""Signals to compare by ear: written as they come, then played at one loudness."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from espnet_hybridse.demo.pictures import Strip
from espnet_hybridse.fileio.audio import as_stored
from espnet_hybridse.inference.files.loudness import Loudness

PLAYED_LUFS = -23.0
"""Loudness that all are played at (EBU R 128), less where one would be clipped."""
PEAK = 0.99
HEARD_CHANNELS = 2
"""Channels that are played; of more the first is."""
BLOCK = 1 << 16


class Track:
    """One signal (C, T) on its way to the page: in float on disk, measured block by block.

    Args:
        name: "noisy" or a branch's.
        folder: where its files go.
        fs: rate in Hz.
        channels: C.
        samples: T as the header has it, for the picture.

    Attributes:
        sound: WAV that the page plays, once :meth:`finish` has written it.
        peak: largest magnitude so far, of the channels that are played.
        strip: its spectrogram.
    """

    def __init__(self, name: str, folder: Path, fs: int, channels: int, samples: int):
        self.name, self.fs, self.peak = name, fs, 0.0
        self.sound, self._scratch = folder / f"{name}.wav", folder / f"{name}.rf64"
        self._heard = channels if channels <= HEARD_CHANNELS else 1
        self._meter = Loudness(fs, self._heard)
        self.strip = Strip(fs, samples)
        self._file = soundfile.SoundFile(
            self._scratch, "w", fs, self._heard, "FLOAT", format="RF64"
        )

    def add(self, block: np.ndarray) -> None:
        """Append (C, n) float32."""
        heard = block[: self._heard]
        self._file.write(heard.T)
        self._meter.add(heard)
        self.strip.add(heard[0])
        self.peak = max(self.peak, float(np.abs(heard).max(initial=0.0)))

    def close(self) -> None:
        """No more is added."""
        self._file.close()

    def loudness(self) -> float | None:
        """LUFS of what was added; None of what is silent or shorter than 0.4 s."""
        return self._meter.value()

    def start(self, seconds: float) -> np.ndarray:
        """The first channel's first seconds, (T,) float32."""
        wav, _ = soundfile.read(
            self._scratch, frames=round(seconds * self.fs), dtype="float32", always_2d=True
        )
        return np.ascontiguousarray(wav[:, 0])

    def finish(self, gain: float) -> Iterator[None]:
        """Write `sound` with a gain, a block at each step; what was on disk in float goes."""
        with (
            soundfile.SoundFile(self._scratch) as source,
            soundfile.SoundFile(self.sound, "w", self.fs, self._heard, "PCM_16") as out,
        ):
            while len(block := source.read(BLOCK, "float32", always_2d=True)):
                out.write(as_stored(block * np.float32(gain), "PCM_16"))
                yield
        self._scratch.unlink()


@dataclass(frozen=True)
class Level:
    """Loudness in LUFS (None: not to be told) and largest magnitude of one signal."""

    lufs: float | None
    peak: float


def equal_loudness(levels: Mapping[str, Level]) -> dict[str, float]:
    """Gains that bring signals to one loudness without clipping any of them.

    What is silent or too short to have a loudness keeps its level, if that is not too high.
    """
    target = PLAYED_LUFS
    for level in levels.values():
        if level.lufs is not None and level.peak:
            target = min(target, level.lufs + 20 * float(np.log10(PEAK / level.peak)))
    return {
        name: min(1.0, PEAK / max(level.peak, PEAK))
        if level.lufs is None
        else 10 ** ((target - level.lufs) / 20)
        for name, level in levels.items()
    }
