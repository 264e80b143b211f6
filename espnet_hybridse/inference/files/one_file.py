"""One file, or a few short ones at once: read, enhanced and written, or what is wrong with it."""

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

import numpy as np

from espnet_hybridse.fileio.audio import BadAudio
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.files.audio_files import (
    AudioInfo,
    OutputFailed,
    format_for,
    open_writer,
    read_blocks,
    read_info,
)
from espnet_hybridse.inference.files.jobs import Job

FAULTS = (BadAudio, OSError, RuntimeError, ValueError, MemoryError, AssertionError)
"""What a file may raise that goes to quarantine."""


@dataclass(frozen=True)
class Result:
    """What became of one file."""

    job: Job
    seconds: float = 0.0
    fs: int = 0
    channels: int = 0
    reason: Optional[str] = None

    def as_dict(self) -> Dict[str, object]:
        """For `--json`."""
        row = {"id": self.job.uid, "source": str(self.job.source)}
        if self.reason is not None:
            return {**row, "status": "quarantined", "reason": self.reason}
        facts = {"seconds": round(self.seconds, 6), "fs": self.fs, "channels": self.channels}
        return {**row, "status": "enhanced", "target": str(self.job.target), **facts}


def enhance_file(
    enhancer: Enhancer,
    job: Job,
    subtype: Optional[str] = None,
    progress: Optional[Callable[[float], object]] = None,
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
        info = read_info(job.source)
        container = format_for(job.target, job.source, info, subtype)
        with open_writer(job.target, info.fs, info.channels, *container) as writer:
            for block in enhancer.stream(read_blocks(job.source, info), info.fs):
                writer.write(block)
                if progress is not None:
                    progress(block.shape[1] / info.fs)
    except OutputFailed:
        raise
    except FAULTS as error:
        return _bad(job, error)
    return Result(job, writer.frames / info.fs, info.fs, info.channels)


def enhance_together(
    enhancer: Enhancer, group: List[Job], infos: Dict[Job, AudioInfo], subtype: Optional[str]
) -> List[Result]:
    """Enhance short mono files of one rate at once.

    Args:
        enhancer: the model.
        group: what to read and where to write.
        infos: their headers.
        subtype: as of :func:`enhance_file`.

    Raises:
        OutputFailed: a result cannot be written.
    """
    results, wavs = {}, {}
    for job in group:
        try:
            blocks = list(read_blocks(job.source, infos[job]))
            wavs[job] = np.concatenate(blocks, axis=1)[0]
        except FAULTS as error:
            results[job] = _bad(job, error)
    try:
        done = enhancer.many(list(wavs.values()), infos[group[0]].fs)
    except (RuntimeError, ValueError, MemoryError):
        # One of them is at fault; alone it shows which.
        return [results.get(job) or enhance_file(enhancer, job, subtype) for job in group]
    for (job, wav), enhanced in zip(wavs.items(), done, strict=True):
        info = infos[job]
        try:
            container = format_for(job.target, job.source, info, subtype)
            with open_writer(job.target, info.fs, 1, *container) as writer:
                writer.write(enhanced[None])
            results[job] = Result(job, wav.size / info.fs, info.fs, 1)
        except OutputFailed:
            raise
        except FAULTS as error:
            results[job] = _bad(job, error)
    return [results[job] for job in group]


def _bad(job: Job, error: BaseException) -> Result:
    return Result(job, reason=f"{type(error).__name__}: {error}")
