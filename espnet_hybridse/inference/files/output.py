"""How results are written: sample format, peaks, loudness, metadata, and what was taken away."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.formats import AudioInfo
from espnet_hybridse.inference.files.audio_files import (
    UNBOUNDED,
    OutputFailed,
    Writer,
    format_for,
    open_writer,
    output_failed,
)
from espnet_hybridse.inference.files.jobs import Job
from espnet_hybridse.inference.files.loudness import Loudness

PEAKS = ("clip", "scale")
FULL_SCALE = 32766 / 32768
"""Peak of a file that was scaled down: below what 16 bits hold."""
LUFS = (-70.0, 0.0)

Pair = tuple[np.ndarray, np.ndarray | None]
"""A block (C, n) of the result, and of the input where the difference is wanted."""


@dataclass(frozen=True)
class Output:
    """Options of `hybridse enhance` about what is written.

    Attributes:
        subtype: libsndfile's name, as PCM_16, of the sample format; None as the source's.
        peaks: "clip" cuts what lies above full scale where the format has no more, "scale" turns
            the whole file down.
        loudness: LUFS (ITU-R BS.1770) to bring each file to, "keep" for the source's; None as it
            comes out.

    Raises:
        ValueError: a value that is not accepted.
    """

    subtype: str | None = None
    peaks: str = "clip"
    loudness: float | str | None = None

    def __post_init__(self) -> None:
        if self.peaks not in PEAKS:
            raise ValueError(f"peaks={self.peaks!r} is not one of {', '.join(PEAKS)}")
        if isinstance(self.loudness, str) and self.loudness != "keep":
            raise ValueError(f"loudness={self.loudness!r}: expected LUFS, such as -23, or keep")
        if isinstance(self.loudness, float) and not LUFS[0] <= self.loudness <= LUFS[1]:
            raise ValueError(f"loudness={self.loudness} LUFS; accepted: {LUFS[0]:.0f} to 0")

    @property
    def twice(self) -> bool:
        """Whether a result is known only when all of it is there."""
        return self.loudness is not None or self.peaks == "scale"


@dataclass
class Written:
    """What was written of one file.

    Attributes:
        clipped: samples of all channels that lay above full scale and were cut.
        gain_db: level of the result over that of the input.
        loudness: of the result in LUFS, where it was asked for.
        warnings: what the user should know.
    """

    fs: int
    channels: int
    container: str
    subtype: str
    frames: int = 0
    clipped: int = 0
    gain_db: float | None = None
    loudness: float | None = None
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For the record."""
        row = {
            "channels": self.channels,
            "container": self.container,
            "subtype": self.subtype,
            "gain_db": None if self.gain_db is None else round(self.gain_db, 2),
            "clipped_samples": self.clipped,
        }
        return row if self.loudness is None else {**row, "lufs": round(self.loudness, 2)}


def write_result(
    job: Job,
    info: AudioInfo,
    pairs: Iterable[Pair],
    output: Output,
    power: float,
    loudness: float | None,
    progress: Callable[[float], object] | None = None,
) -> Written:
    """Write what comes out of an enhancement, and what it took away where `job.noise` wants it.

    Args:
        job: where to write.
        info: of the source.
        pairs: blocks of the result.
        output: how.
        power: mean square of the source.
        loudness: of the source in LUFS, for "keep".
        progress: called with the seconds that are done.

    Raises:
        BadAudio: NaN or Inf in the result, or the format takes no such rate or channels.
        OutputFailed: it cannot be written.
    """
    container, subtype = format_for(job.target, job.source, info, output.subtype)
    result = Written(info.fs, info.channels, container, subtype)
    form = (info.fs, info.channels, container, subtype)
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(job.target, *form, source=job.source))
        noise = None
        if job.noise is not None:
            noise = stack.enter_context(open_writer(job.noise, *form))
        blocks = _counted(pairs, noise, result, progress)
        if output.twice:
            blocks = stack.enter_context(_Scratch(job.target, blocks, info))
            blocks.gain = _gain(blocks, output, loudness, subtype in UNBOUNDED, result)
        energy = 0.0
        for block in blocks:
            energy += float(np.square(block, dtype=np.float64).sum())
            writer.write(block)
    result.frames, result.clipped = writer.frames, writer.clipped
    result.warnings += writer.lost
    mean = energy / max(writer.frames * info.channels, 1)
    result.gain_db = 10 * float(np.log10(mean / power)) if mean and power else None
    if writer.clipped:
        share = 100 * writer.clipped / (writer.frames * info.channels)
        advice = "; --peaks scale turns the file down instead"
        result.warnings.append(
            f"{writer.clipped} samples ({share:.2g} %) above full scale were clipped{advice}"
        )
    return result


def _counted(
    pairs: Iterable[Pair],
    noise: Writer | None,
    result: Written,
    progress: Callable[[float], object] | None,
) -> Iterator[np.ndarray]:
    """Blocks of the result; the difference to the input is written beside."""
    for block, dry in pairs:
        if noise is not None:
            noise.write(np.zeros_like(block) if dry is None else dry - block)
        yield block
        if progress is not None:
            progress(block.shape[1] / result.fs)


class _Scratch:
    """A result on disk, in float, until its loudness and peak are known.

    Attributes:
        peak, loudness: of all of it.
        gain: of what is read back.
    """

    def __init__(self, target: Path, blocks: Iterable[np.ndarray], info: AudioInfo):
        self._target, self._channels, self.gain, self.peak = target, info.channels, 1.0, 0.0
        meter = Loudness(info.fs, info.channels)
        try:
            self._file = tempfile.TemporaryFile(dir=target.parent)  # noqa: SIM115
            for block in blocks:
                meter.add(block)
                self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
                self._file.write(np.ascontiguousarray(block.T, dtype=np.float32).data)
        except OutputFailed:
            raise
        except OSError as error:
            raise output_failed(target, error) from error
        self.loudness = meter.value()

    def __enter__(self) -> "_Scratch":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        self._file.seek(0)
        frame = 4 * self._channels
        while data := self._file.read(frame << 16):
            block = np.frombuffer(data, np.float32).reshape(-1, self._channels).T
            yield block * np.float32(self.gain)


def _gain(
    scratch: _Scratch, output: Output, source: float | None, unbounded: bool, result: Written
) -> float:
    """What to multiply the result with; notes its loudness, or why that could not be reached."""
    gain = 1.0
    wanted = source if output.loudness == "keep" else output.loudness
    if output.loudness is not None:
        if wanted is None or scratch.loudness is None:
            result.warnings.append("loudness left alone: shorter than 0.4 s or silent")
        else:
            gain = 10 ** ((float(wanted) - scratch.loudness) / 20)
            result.loudness = float(wanted)
    if output.peaks == "scale" and not unbounded and scratch.peak * gain > FULL_SCALE:
        down = FULL_SCALE / scratch.peak / gain
        gain *= down
        result.warnings.append(f"turned down by {-20 * np.log10(down):.1f} dB to avoid clipping")
        if result.loudness is not None:
            result.loudness += 20 * float(np.log10(down))
    return gain
