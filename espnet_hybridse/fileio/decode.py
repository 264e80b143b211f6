"""The one reader of audio: libsndfile first, FFmpeg for what it cannot; files and archives.

A header is a claim, not a fact: nothing is reserved for what it says, and the samples are counted.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from espnet_hybridse.fileio.ffmpeg import FfmpegDecoder
from espnet_hybridse.fileio.formats import HEADERLESS, AudioInfo, BadAudio
from espnet_hybridse.fileio.headers import View, corrections

MIN_FS, MAX_FS = 1000, 768000
"""Rates in Hz outside of which a header is taken for damaged."""
MAX_CHANNELS = 64
BLOCK = 1 << 18
"""Samples of all channels together that are read at once."""
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
GUESSED = ("MP3", "MPEG")
"""Containers, by libsndfile's names, whose length is a guess from the bit rate."""
ARCHIVED = re.compile(r"^(.*\.ark):(\d+)$", re.S)
"""What a list names an entry of an archive by, see espnet_hybridse.data.kaldi_ark."""
OTHERS = re.compile(
    rb"RIFF|RIFX|RF64|FORM|OggS|ID3|\xff[\xe0-\xff]|#!AMR|\x1aE\xdf\xa3|0&\xb2u|FLV|caff|"
    rb"MAC |wvpk|TTA1|\x0bw|NIST_1A|\0\0\x01[\xba\xb3]|\.RMF|....(?:ftyp|moov|mdat|free|wide)",
    re.S,
)
"""How a file begins that may be audio FFmpeg knows; it would take other bytes for MP3, too."""


class Decoder(Protocol):
    """What reads one kind of file: :class:`SndfileDecoder` or FFmpeg's."""

    info: AudioInfo

    def read(self, frames: int) -> np.ndarray:
        """The next samples, (C, n) float32 with n <= frames; n = 0 only at the end."""

    def seek(self, frame: int) -> None:
        """Go on at `frame`."""

    def close(self) -> None: ...


class Reader:
    """An open file, read from its beginning to its end or by stretches; a context manager.

    Attributes:
        info: what the header says, made exact where it was a guess and all was read.
        samples: of each channel, read so far.
        peak: largest magnitude so far.
        warnings: what the user should know, complete once all was read.
    """

    def __init__(self, decoder: Decoder):
        self._decoder = decoder
        self.info = decoder.info
        self.samples, self.peak = 0, 0.0
        self.warnings = [self.info.warning] if self.info.warning else []

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples as (C, n) float32 blocks.

        Raises:
            BadAudio: damaged, truncated, or NaN or Inf among them.
        """
        size = max(BLOCK // self.info.channels, 1)
        while (block := self.read(size)).shape[1]:
            level = float(np.abs(block).max())
            if not np.isfinite(level):
                raise BadAudio("NaN or Inf samples")
            self.samples += block.shape[1]
            self.peak = max(self.peak, level)
            yield block
        self._check_length()

    def read(self, frames: int) -> np.ndarray:
        """The next samples, (C, n) with n <= frames, as they are; n = 0 only at the end.

        Raises:
            BadAudio: damaged.
        """
        with _as_bad_audio(f"unreadable after {self.samples / self.info.fs:.2f} s"):
            return self._decoder.read(frames)

    def seek(self, frame: int) -> None:
        """Go on at sample `frame`."""
        with _as_bad_audio("unreadable"):
            self._decoder.seek(frame)

    def _check_length(self) -> None:
        fs, promised = self.info.fs, self.info.seconds
        if self.samples < self.info.frames and self.info.exact:
            _truncated(self.samples / fs, promised)
        if damaged := getattr(self._decoder, "damaged", 0):
            self.warnings.append(f"{damaged} damaged packets were left out")
        if self.info.container not in GUESSED and self.samples / fs < 0.95 * promised - 0.5:
            self.warnings.append(f"{self.samples / fs:.2f} s, its header says {promised:.2f} s")
        self.info = replace(self.info, frames=self.samples, exact=True)


class SndfileDecoder:
    """What libsndfile reads."""

    def __init__(self, source: bytes | BinaryIO):
        self._source = source
        self._file = _Forward(source)
        self.info = AudioInfo(
            self._file.samplerate,
            self._file.channels,
            max(int(self._file.frames), 0),
            self._file.format,
            self._file.subtype,
            exact=self._file.format not in GUESSED and self._file.frames <= ENDLESS,
        )

    def read(self, frames: int) -> np.ndarray:
        return self._file.read(frames, "float32", always_2d=True).T

    def seek(self, frame: int) -> None:
        self._file.seek(frame)

    def shortfall(self) -> float:
        """Part of the samples that are missing at the end of the file, by what the header says."""
        for promised, there in re.findall(PROMISE, self._file.extra_info):
            promised, there = int(promised), int(there)
            if there + HEADER_SLACK < promised < PLACEHOLDER:
                return 1 - there / promised
        return 0.0

    def close(self) -> None:
        self._file.close()
        if not isinstance(self._source, bytes):
            self._source.close()


class _Forward(soundfile.SoundFile):
    """soundfile seeks after each block, which streams of unknown length do not allow."""

    def seekable(self) -> bool:
        return False


def open_audio(path: str | Path, exact: bool = False) -> Reader:
    """A file of any kind, or one that lies in a Kaldi archive at `x.ark:123`.

    Args:
        path: of the file, or place in an archive.
        exact: count the samples of a file whose header only guesses, by reading it twice.

    Raises:
        BadAudio: unreadable, truncated, or with a rate or a number of channels that no recording
            has.
    """
    decoder = _decoder(path)
    try:
        info = decoder.info
        if not MIN_FS <= info.fs <= MAX_FS:
            raise BadAudio(f"{info.fs} Hz, expected {MIN_FS} to {MAX_FS}")
        if not 1 <= info.channels <= MAX_CHANNELS:
            raise BadAudio(f"{info.channels} channels, expected 1 to {MAX_CHANNELS}")
        if not info.exact and (exact or info.frames > ENDLESS):
            decoder.info = replace(info, frames=_counted(path), exact=True)
        if missing := getattr(decoder, "shortfall", float)():
            _truncated(info.seconds, info.seconds / (1 - missing))
        return Reader(decoder)
    except BaseException:
        decoder.close()
        raise


def read_info(path: str | Path, exact: bool = False) -> AudioInfo:
    """The header of a file; arguments and errors as of :func:`open_audio`."""
    with open_audio(path, exact) as file:
        return file.info


def read_samples(path: str | Path) -> tuple[np.ndarray, int]:
    """All samples of a file, (C, T) float32, and its rate in Hz.

    Raises:
        BadAudio: as of :func:`open_audio`, damaged, or NaN or Inf.
    """
    with open_audio(path) as file:
        blocks = list(file.blocks())
        none = np.zeros((file.info.channels, 0), np.float32)
        return np.concatenate([none, *blocks], axis=1), file.info.fs


def is_there(path: str | Path) -> bool:
    """Whether there is such a file, or archive."""
    return os.path.isfile(container_of(path))


def container_of(path: str | Path) -> str:
    """The file itself, or the archive that it lies in."""
    match = ARCHIVED.match(str(path))
    return match.group(1) if match and not os.path.isfile(path) else str(path)


def _decoder(path: str | Path) -> Decoder:
    """libsndfile where it can, else FFmpeg."""
    if str(path).rstrip().endswith("|"):
        raise BadAudio("a command, not a file; commands in lists are not run")
    if not is_there(path):
        what = "a folder, pipe or device" if os.path.exists(path) else "no such file"
        raise BadAudio(f"unreadable: {what}")
    raw = HEADERLESS.get(Path(path).suffix.lower())
    with _as_bad_audio("unreadable"):
        start, size = _place(path)
        with View(container_of(path), start, size) as file:
            head = file.read(16)
            if raw:
                return _ffmpeg(path, start, size, raw)
            patches = corrections(file)
        try:
            decoder = _sndfile(path, start, size)
        except Exception as error:
            if not (patches or OTHERS.match(head)):
                raise
            problem = error
        else:
            if not patches:
                return decoder
            said = decoder.info.seconds
            decoder.close()
            return _mended(path, start, size, patches, said)
        if patches:
            return _mended(path, start, size, patches, 0.0)
        try:
            return _ffmpeg(path, start, size)
        except Exception as error:
            raise BadAudio(f"unreadable: {_plain(problem)}; FFmpeg: {_plain(error)}") from error


def _sndfile(path: str | Path, start: int, size: int | None) -> SndfileDecoder:
    whole = start == 0 and size is None
    # Bytes: names need not be text.
    return SndfileDecoder(os.fsencode(path) if whole else View(container_of(path), start, size))


def _mended(path: str | Path, start: int, size: int | None, patches, said: float) -> Decoder:
    """The samples that a wrong header hides."""
    decoder = SndfileDecoder(View(container_of(path), start, size, patches))
    info = decoder.info
    warning = f"wrong header: it says {said:.2f} s, the file holds {info.seconds:.2f} s"
    decoder.info = replace(info, warning=warning)
    return decoder


def _ffmpeg(path: str | Path, start: int, size: int | None, name: str | None = None) -> Decoder:
    return FfmpegDecoder(lambda: View(container_of(path), start, size), name)


def _place(path: str | Path) -> tuple[int, int | None]:
    """First byte and number of bytes (None: all that follow) of a file, or of one in an archive."""
    match = ARCHIVED.match(str(path))
    if match is None or os.path.isfile(path):
        return 0, None
    with open(match.group(1), "rb") as archive:
        start = int(match.group(2))
        archive.seek(start)
        head = archive.read(6)
        if head[:5] == b"AUDIO" and len(head) == 6:
            size = int.from_bytes(archive.read(head[5]), "little")
            return start + 6 + head[5], size
        if head[:4] == b"RIFF":  # as Kaldi's wav-copy and kaldiio write it
            archive.seek(start + 4)
            size = int.from_bytes(archive.read(4), "little")
            return start, size + 8 if 0 < size < PLACEHOLDER else None
        if head[:4] in (b"fLaC", b"OggS", b"NIST"):
            return start, None
    raise BadAudio("no audio at this place; archive the set again")


def _counted(path: str | Path) -> int:
    """Frames of a file whose header does not know them."""
    with Reader(_decoder(path)) as file:
        frames, size = 0, max(BLOCK // max(file.info.channels, 1), 1)
        while count := file.read(size).shape[1]:
            frames += count
    return frames


def _truncated(seconds: float, promised: float) -> None:
    raise BadAudio(f"truncated: {seconds:.2f} s of the {promised:.2f} s its header promises")


@contextmanager
def _as_bad_audio(what: str) -> Iterator[None]:
    """libsndfile and FFmpeg raise several types, and both assert; each means "unreadable"."""
    try:
        yield
    except (BadAudio, MemoryError):
        raise
    except Exception as error:
        raise BadAudio(f"{what}: {_plain(error)}") from error


def _plain(error: Exception) -> str:
    """What went wrong, without libsndfile's name of a buffer or its words for a file named .mp3."""
    text = str(getattr(error, "error_string", "") or error) or type(error).__name__
    wrong = "File does not exist or is not a regular file (possibly a pipe?)"
    return text.replace(wrong, "Format not recognised")
