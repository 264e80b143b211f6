"""One file, or a few short ones at once: read, enhanced and written, or what is wrong with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from espnet_hybridse.fileio.audio import MIN_SECONDS, SILENCE_PEAK
from espnet_hybridse.fileio.decode import open_audio
from espnet_hybridse.fileio.formats import AudioInfo, BadAudio, keeps_length, shown
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.files.audio_files import (
    OutputFailed,
    Writer,
    format_for,
    open_writer,
)
from espnet_hybridse.inference.files.jobs import Job

FAULTS = (BadAudio, OSError, RuntimeError, ValueError, MemoryError, AssertionError)
"""What a file may raise that goes to quarantine."""


@dataclass(frozen=True)
class Result:
    """What became of one file.

    Attributes:
        clipped: samples of the result that lay above full scale and were cut.
        subtype: sample format of the result.
        warnings: what the user should know of a file that was enhanced nevertheless.
        reason: why it was not.
    """

    job: Job
    seconds: float = 0.0
    fs: int = 0
    channels: int = 0
    clipped: int = 0
    subtype: str = ""
    warnings: tuple[str, ...] = ()
    reason: str | None = None

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        row = {"id": shown(self.job.uid), "source": shown(self.job.source)}
        if self.reason is not None:
            return {**row, "status": "quarantined", "reason": shown(self.reason)}
        return {
            **row,
            "status": "enhanced",
            "target": shown(self.job.target),
            "seconds": round(self.seconds, 6),
            "fs": self.fs,
            "channels": self.channels,
            "subtype": self.subtype,
            "clipped_samples": self.clipped,
            "warnings": list(map(shown, self.warnings)),
        }


@dataclass
class Look:
    """What one reading of a file tells, before it is enhanced.

    Attributes:
        info: what there is, not what the header says.
        peak: largest magnitude.
        warnings: about it.
    """

    info: AudioInfo
    peak: float
    warnings: list[str] = field(default_factory=list)

    @property
    def silent(self) -> bool:
        return self.peak < SILENCE_PEAK


def look_at(job: Job, keep: list[np.ndarray] | None = None) -> Look:
    """Read a file once; its blocks (C, n) are added to `keep`.

    Raises:
        BadAudio: unreadable, truncated, NaN or Inf among the samples, or none at all.
    """
    with open_audio(job.source) as file:
        for block in file.blocks():
            if keep is not None:
                keep.append(block)
        look = Look(file.info, file.peak, list(file.warnings))
    if not look.info.frames:
        raise BadAudio("holds no sample")
    if look.silent:
        look.warnings.append("silent: written as it is")
    elif look.info.seconds < MIN_SECONDS:
        look.warnings.append(f"very short: {look.info.seconds:.3f} s")
    return look


def enhance_file(
    enhancer: Enhancer,
    job: Job,
    subtype: str | None = None,
    progress: Callable[[float], object] | None = None,
) -> Result:
    """Enhance one file of any length in constant memory.

    Args:
        enhancer: the model.
        job: what to read and where to write.
        subtype: libsndfile's name of the result's sample format, instead of the source's.
        progress: called with the seconds of audio that were written.

    Raises:
        OutputFailed: the result cannot be written.
    """
    try:
        look = look_at(job)
        with open_audio(job.source) as file:
            blocks = file.blocks()
            if not look.silent:
                blocks = enhancer.stream(blocks, look.info.fs)
            return _written(job, look, blocks, subtype, progress)
    except OutputFailed:
        raise
    except FAULTS as error:
        return _bad(job, error)


def enhance_together(
    enhancer: Enhancer, group: list[Job], infos: dict[Job, AudioInfo], subtype: str | None
) -> list[Result]:
    """Enhance short mono files of one rate at once.

    Args:
        enhancer: the model.
        group: what to read and where to write.
        infos: their headers.
        subtype: as of :func:`enhance_file`.

    Raises:
        OutputFailed: a result cannot be written.
    """
    results, wavs, looks = {}, {}, {}
    for job in group:
        try:
            blocks: list[np.ndarray] = []
            looks[job] = look_at(job, blocks)
            wavs[job] = np.concatenate(blocks, axis=1)[0]
        except FAULTS as error:
            results[job] = _bad(job, error)
    try:
        loud = {job: wav for job, wav in wavs.items() if not looks[job].silent}
        many = enhancer.many(list(loud.values()), infos[group[0]].fs)
        wavs.update(zip(loud, many, strict=True))
    except (RuntimeError, ValueError, MemoryError):
        # One of them is at fault; alone it shows which.
        return [results.get(job) or enhance_file(enhancer, job, subtype) for job in group]
    for job, enhanced in wavs.items():
        try:
            results[job] = _written(job, looks[job], iter([enhanced[None]]), subtype)
        except OutputFailed:
            raise
        except FAULTS as error:
            results[job] = _bad(job, error)
    return [results[job] for job in group]


def _written(
    job: Job,
    look: Look,
    blocks: Iterator[np.ndarray],
    subtype: str | None,
    progress: Callable[[float], object] | None = None,
) -> Result:
    """Write the blocks (C, n) of a result."""
    info = look.info
    container, subtype = format_for(job.target, job.source, info, subtype)
    if not keeps_length(info.subtype):
        look.warnings.append(f"written as {container} {subtype}, not {info.subtype}")
    with open_writer(job.target, info.fs, info.channels, container, subtype) as writer:
        for block in blocks:
            writer.write(block)
            if progress is not None:
                progress(block.shape[1] / info.fs)
    if writer.clipped:
        look.warnings.append(_clipping(writer))
    seconds, warnings = writer.frames / info.fs, tuple(look.warnings)
    return Result(job, seconds, info.fs, info.channels, writer.clipped, subtype, warnings=warnings)


def _clipping(writer: Writer) -> str:
    share = writer.clipped / max(writer.frames * writer.file.channels, 1)
    return f"{writer.clipped} samples ({100 * share:.2g} %) above full scale were clipped"


def _bad(job: Job, error: BaseException) -> Result:
    return Result(job, reason=f"{type(error).__name__}: {error}")
