"""Audio files of any length: read and written block by block, as much of them in memory as needed.

A header is a claim, not a fact: nothing is reserved for what it says, and the samples are counted.
"""

import errno
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Tuple, Union

import numpy as np
import soundfile

from espnet_hybridse.fileio.audio import MIN_SECONDS, SILENCE_PEAK, BadAudio
from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.inference.files.jobs import CONTAINERS
from espnet_hybridse.inference.stream import MAX_CHANNELS

MIN_FS, MAX_FS = 1000, 768000
"""Rates in Hz outside of which a header is taken for damaged."""
BLOCK = 1 << 18
"""Samples of all channels together that are read at once."""
WAV_BYTES = 4 * 10**9
"""What the 32-bit sizes of a WAV header can say; longer audio becomes RF64, its extension."""
FINE = ("FLOAT", "DOUBLE", "PCM_24", "PCM_32")
"""Subtypes that hold more than 16 bits."""
DEFAULT_SUBTYPES = {".opus": "OPUS", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}
ENDLESS = 2**62
"""Frames from which on a header means that it does not know, as a FLAC stream's out of a pipe."""
PROMISE = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.M
)
"""Where libsndfile notes fewer bytes than a header names; it reads on as if the file were whole."""
PLACEHOLDER = 0x7FFF0000
"""Bytes from which on a header means that its writer could not go back, as into a pipe."""
HEADER_SLACK = 128
"""Bytes by which writers err that count the header in."""


class OutputFailed(OSError):
    """The result cannot be written: disk full, read-only, no permission. Not the input's fault."""


@dataclass(frozen=True)
class AudioInfo:
    """What a header says."""

    fs: int
    channels: int
    frames: int
    container: str
    subtype: str

    @property
    def seconds(self) -> float:
        return self.frames / self.fs


def read_info(path: Union[str, Path]) -> AudioInfo:
    """The header of a file.

    Raises:
        BadAudio: unreadable, truncated, or with a rate or a number of channels that no recording
            has.
    """
    if str(path).rstrip().endswith("|"):
        raise BadAudio("a command, not a file; commands in lists are not run")
    if not os.path.isfile(path):
        raise BadAudio("no such file")
    try:
        info = soundfile.info(str(path))
    except Exception as error:  # libsndfile raises several types; each means "unreadable"
        # What libsndfile says of a file that is named .mp3 and is none.
        wrong = "File does not exist or is not a regular file (possibly a pipe?)"
        problem = str(error).replace(wrong, "Format not recognised")
        raise BadAudio(f"unreadable: {problem}") from error
    if not MIN_FS <= info.samplerate <= MAX_FS:
        raise BadAudio(f"{info.samplerate} Hz, expected {MIN_FS} to {MAX_FS}")
    if not 1 <= info.channels <= MAX_CHANNELS:
        raise BadAudio(f"{info.channels} channels, expected 1 to {MAX_CHANNELS}")
    frames = max(int(info.frames), 0)
    if frames > ENDLESS:
        frames = _counted(path)
    for promised, there in re.findall(PROMISE, info.extra_info):
        promised, there = int(promised), int(there)
        if there + HEADER_SLACK < promised < PLACEHOLDER:
            _truncated(frames / info.samplerate, frames / info.samplerate * promised / there)
    return AudioInfo(info.samplerate, info.channels, frames, info.format, info.subtype)


class _Forward(soundfile.SoundFile):
    """A file that is read from its beginning to its end.

    soundfile seeks after each block, which streams of unknown length do not allow.
    """

    def seekable(self) -> bool:
        return False


def _counted(path: Union[str, Path]) -> int:
    """Frames of a file whose header does not know them."""
    frames = 0
    try:
        with _Forward(str(path)) as file:
            while count := len(file.read(BLOCK // file.channels, "float32")):
                frames += count
    except (soundfile.SoundFileError, OSError, RuntimeError, AssertionError) as error:
        raise BadAudio(f"unreadable: {error}") from error
    return frames


def _truncated(seconds: float, promised: float) -> None:
    raise BadAudio(f"truncated: {seconds:.2f} s of the {promised:.2f} s its header promises")


def read_blocks(path: Union[str, Path], info: AudioInfo) -> Iterator[np.ndarray]:
    """The samples of a file as (C, n) float32 blocks.

    Raises:
        BadAudio: unreadable, truncated, NaN or Inf, shorter than 0.1 s or silent. The last two are
            known at the end only.
    """
    samples, peak = 0, 0.0
    try:
        with _Forward(str(path)) as file:
            while True:
                block = file.read(max(BLOCK // info.channels, 1), "float32", always_2d=True).T
                if not block.shape[1]:
                    break
                level = float(np.abs(block).max())
                if not np.isfinite(level):
                    raise BadAudio("NaN or Inf samples")
                samples, peak = samples + block.shape[1], max(peak, level)
                yield block
    except (soundfile.SoundFileError, OSError, RuntimeError, AssertionError) as error:
        raise BadAudio(f"unreadable after {samples / info.fs:.2f} s: {error}") from error
    if samples < info.frames:
        _truncated(samples / info.fs, info.seconds)
    if samples < MIN_SECONDS * info.fs:
        raise BadAudio(f"too short: {samples / info.fs:.3f} s, at least {MIN_SECONDS} s needed")
    if peak < SILENCE_PEAK:
        raise BadAudio("silent")


def format_for(
    target: Path, source: Path, info: AudioInfo, subtype: Optional[str] = None
) -> Tuple[str, str]:
    """Container and subtype of a result: the source's where the target's ending is the same.

    Args:
        target, source: their endings decide.
        info: of the source.
        subtype: libsndfile's name, as PCM_16, instead of the source's.

    Raises:
        ValueError: a subtype that the container cannot hold.
    """
    suffix = target.suffix.lower()
    same = suffix == source.suffix.lower()
    container = info.container if same else CONTAINERS[suffix]
    if subtype is not None and not soundfile.check_format(container, subtype):
        raise ValueError(
            f"{target.name}: {container} holds no {subtype}, only "
            f"{', '.join(soundfile.available_subtypes(container))}"
        )
    preferred = DEFAULT_SUBTYPES.get(suffix)
    # Containers of plain samples can also hold compressed ones, which nobody asked for.
    plain = info.subtype in FINE or info.subtype.startswith("PCM")
    subtype = subtype or (info.subtype if same or plain else preferred or "PCM_16")
    if not soundfile.check_format(container, subtype):
        subtype = preferred or ("PCM_24" if info.subtype in FINE else "PCM_16")
        container = container if soundfile.check_format(container, subtype) else CONTAINERS[suffix]
    if container in ("WAV", "WAVEX") and info.frames * info.channels * width(subtype) > WAV_BYTES:
        container = "RF64"
    return container, subtype


def width(subtype: str) -> int:
    """Bytes per sample, at most."""
    return {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}.get(subtype, 4)


class Writer:
    """Writes (C, n) blocks to an open file, peaks clipped at 1 where the format has no more."""

    def __init__(self, file: soundfile.SoundFile, path: Path):
        self.file, self.path = file, path
        self.frames = 0

    def write(self, block: np.ndarray) -> None:
        """Append a block; OutputFailed when it does not fit on the disk."""
        unbounded = self.file.subtype in ("FLOAT", "DOUBLE")
        try:
            self.file.write(block.T if unbounded else np.clip(block.T, -1.0, 1.0))
        except (soundfile.SoundFileError, OSError, RuntimeError, AssertionError) as error:
            raise output_failed(self.path, error) from error
        self.frames += block.shape[1]


@contextmanager
def open_writer(path: Path, fs: int, channels: int, container: str, subtype: str):
    """A :class:`Writer` to a temporary file that takes `path`'s name once it is whole.

    Raises:
        BadAudio: the container takes no such rate or number of channels.
        OutputFailed: the folder cannot be written, or the disk is full.
    """
    inside = False
    try:
        with atomic_path(path) as tmp:
            try:
                file = soundfile.SoundFile(str(tmp), "w", fs, channels, subtype, format=container)
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
    except OSError as error:
        if inside or isinstance(error, OutputFailed):
            raise
        raise output_failed(path, error) from error


def _check_written(tmp: Path, path: Path, frames: int) -> None:
    # A full disk may show only when the last buffer is written, which reports nothing.
    try:
        written = soundfile.info(str(tmp)).frames
    except soundfile.SoundFileError as error:
        raise output_failed(path, error) from error
    if written != frames:
        raise output_failed(path, OSError(f"{written} of {frames} samples were written"))


def output_failed(path: Path, error: BaseException) -> OutputFailed:
    """The error that says why `path` cannot be written."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize / 2**20
    return OutputFailed(
        getattr(error, "errno", None) or errno.EIO,
        f"cannot be written ({error}; {free:.0f} MiB free): make room or take another OUT; "
        "the same command then goes on where it stopped",
        str(path),
    )
