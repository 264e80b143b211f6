"""Results written block by block, as much of them in memory as needed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from espnet_hybridse.fileio.audio import as_stored
from espnet_hybridse.fileio.disk import no_room
from espnet_hybridse.fileio.formats import (
    CONTAINERS,
    UNBOUNDED,
    AudioInfo,
    BadAudio,
    keeps_length,
    shown,
)
from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.inference.files.metadata import copy_metadata

WAV_BYTES = 4 * 10**9
"""What the 32-bit sizes of a WAV header can say; longer audio becomes RF64, its extension."""
FINE = ("FLOAT", "DOUBLE", "PCM_24", "PCM_32")
"""Subtypes that hold more than 16 bits."""
DEFAULT_SUBTYPES = {".opus": "OPUS", ".ogg": "VORBIS", ".oga": "VORBIS", ".mp3": "MPEG_LAYER_III"}


NAME_FAULTS = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR)
"""What a file system answers where a name is at fault: too long, or with a colon in exFAT."""


class OutputFailed(OSError):
    """The result cannot be written: disk full, read-only, no permission. Not the input's fault."""


def format_for(
    target: Path, source: Path, info: AudioInfo, subtype: str | None = None
) -> tuple[str, str]:
    """Container and subtype of a result: the source's where the target's ending is the same.

    Subtypes that code samples in blocks (ADPCM, GSM) would change the length: PCM_16 is written.

    Args:
        target, source: their endings decide.
        info: of the source.
        subtype: libsndfile's name, as PCM_16, instead of the source's.

    Raises:
        ValueError: a subtype that the container cannot hold, or that changes the length.
    """
    suffix = target.suffix.lower()
    known = soundfile.available_formats()
    same = suffix == source.suffix.lower() and info.container in known
    container = info.container if same else CONTAINERS[suffix]
    if subtype is not None and not soundfile.check_format(container, subtype):
        raise ValueError(
            f"{shown(target.name)}: {container} holds no {subtype}, only "
            f"{', '.join(soundfile.available_subtypes(container))}"
        )
    if subtype is not None and not keeps_length(subtype):
        raise ValueError(f"{subtype} fills a file up to a whole block; take PCM_16 or another")
    preferred = DEFAULT_SUBTYPES.get(suffix)
    # Containers of plain samples can also hold compressed ones, which nobody asked for.
    plain = info.subtype in FINE or info.subtype.startswith("PCM")
    subtype = subtype or (info.subtype if same or plain else preferred or "PCM_16")
    if not (soundfile.check_format(container, subtype) and keeps_length(subtype)):
        subtype = preferred or ("PCM_24" if info.subtype in FINE else "PCM_16")
        container = container if soundfile.check_format(container, subtype) else CONTAINERS[suffix]
    if container in ("WAV", "WAVEX") and info.frames * info.channels * width(subtype) > WAV_BYTES:
        container = "RF64"
    return container, subtype


def width(subtype: str) -> int:
    """Bytes per sample, at most."""
    return {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}.get(subtype, 4)


class Writer:
    """Writes (C, n) blocks to an open file, peaks clipped at 1 where the format has no more.

    Attributes:
        frames: samples of each channel written so far.
        clipped: how many of all channels' samples lay above full scale and were cut.
        lost: metadata of the source that the result has no place for, once it is whole.
    """

    def __init__(self, file: soundfile.SoundFile, path: Path):
        self.file, self.path = file, path
        self.frames = self.clipped = 0
        self.lost: list[str] = []
        self.unbounded = file.subtype in UNBOUNDED

    def write(self, block: np.ndarray) -> None:
        """Append a block.

        Raises:
            BadAudio: NaN or Inf among the samples.
            OutputFailed: it does not fit on the disk.
        """
        if not np.isfinite(block).all():
            seconds = self.frames / self.file.samplerate
            raise BadAudio(f"the model gave NaN or Inf at {seconds:.2f} s")
        if not self.unbounded:
            self.clipped += int((np.abs(block) > 1.0).sum())
        try:
            self.file.write(as_stored(block.T, self.file.subtype))
        except (soundfile.SoundFileError, OSError, RuntimeError, AssertionError) as error:
            raise output_failed(self.path, error) from error
        self.frames += block.shape[1]


@contextmanager
def open_writer(
    path: Path,
    fs: int,
    channels: int,
    container: str,
    subtype: str,
    source: Path | None = None,
) -> Iterator[Writer]:
    """A :class:`Writer` to a temporary file that takes `path`'s name once it is whole.

    Args:
        path, fs, channels, container, subtype: of the file.
        source: file whose metadata it gets.

    Raises:
        BadAudio: the container takes no such rate or number of channels, or the file system no such
            name.
        OutputFailed: the folder cannot be written, or the disk is full.
    """
    inside = False
    try:
        with atomic_path(path) as tmp:
            try:
                # Bytes: names need not be text.
                name = os.fsencode(tmp)
                file = soundfile.SoundFile(name, "w", fs, channels, subtype, format=container)
            except (soundfile.SoundFileError, ValueError, TypeError) as error:
                # Without the name of the temporary file, which tells nobody anything.
                problem = getattr(error, "error_string", error)
                raise BadAudio(
                    f"{container} {subtype} cannot be written at {fs} Hz with {channels} channels: "
                    f"{problem}"
                ) from error
            writer = Writer(file, path)
            with file:
                inside = True
                yield writer
                inside = False
            _check_written(tmp, path, writer.frames)
            if source is not None:
                writer.lost = copy_metadata(source, tmp)
    except OSError as error:
        if inside or isinstance(error, OutputFailed):
            raise
        if error.errno in NAME_FAULTS:
            reason = os.strerror(error.errno)
            raise BadAudio(f"no result can be named {shown(path.name)}: {reason}") from error
        raise output_failed(path, error) from error


def _check_written(tmp: Path, path: Path, frames: int) -> None:
    # A full disk may show only when the last buffer is written, which reports nothing.
    try:
        written = soundfile.info(os.fsencode(tmp)).frames
    except soundfile.SoundFileError as error:
        raise output_failed(path, error) from error
    if written != frames:
        raise output_failed(path, OSError(f"{written} of {frames} samples were written"))


def output_failed(path: Path, error: BaseException) -> OutputFailed:
    """The error that says why `path` cannot be written."""
    return OutputFailed(
        getattr(error, "errno", None) or errno.EIO,
        f"{no_room(error, path)}: make room or take another OUT; the same command then goes on "
        "where it stopped",
        shown(path),
    )
