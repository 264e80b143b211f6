"""The inputs of training: what each one is called, where it lies and how a crop of it is read."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from espnet_hybridse.fileio.decode import ARCHIVED
from espnet_hybridse.fileio.formats import BadAudio


@dataclass(frozen=True)
class Stream:
    """One input of training.

    Attributes:
        name: in batches and in ESPnet's `path,name,type`.
        list_name: the list that names it.
        folder: it lies in: "set" of the recordings, "tokens" or "branches/NAME" of that set.
        is_audio: a waveform; else whole numbers.
        branches: that are trained with it; empty of those that all need.
        made_by: the command that makes it.
    """

    name: str
    list_name: str
    folder: str
    is_audio: bool
    branches: tuple[str, ...]
    made_by: str

    def path(self, dataset: Path, tokens: Path, branches: Path) -> Path:
        """The list of one set.

        Args:
            dataset: folder of the set, such as dump/raw/train.
            tokens: folder of token sets.
            branches: folder of branch outputs.
        """
        where, _, branch = self.folder.partition("/")
        folder = {
            "set": dataset,
            "tokens": tokens / dataset.name,
            "branches": branches / branch / dataset.name,
        }[where]
        return folder / self.list_name


STREAMS = (
    Stream("speech_mix", "wav.scp", "set", True, (), "hybridse simulate"),
    Stream("speech_ref1", "spk1.scp", "set", True, (), "hybridse simulate"),
    Stream("fs", "utt2fs", "set", False, (), "hybridse simulate"),
    Stream("tokens", "text_int", "tokens", False, ("gen",), "hybridse tokenize"),
    Stream("speech_disc", "spk1.scp", "branches/disc", True, ("hybrid",), "hybridse enhance"),
    Stream("speech_gen", "spk1.scp", "branches/gen", True, ("hybrid",), "hybridse enhance"),
)
"""All inputs, in the order in which they are read."""
WAVEFORMS = tuple(stream.name for stream in STREAMS if stream.is_audio)
DUMPED = tuple(stream.name for stream in STREAMS if stream.folder.startswith("branches"))
"""Outputs of the branches, which belong to one recording's noise."""


class Waveform:
    """Samples that are read when they are cut out: `wave.shape`, `wave[start:stop]`.

    Training takes a few seconds of a file, often of one much longer: they are sought, and nothing
    else is decoded.

    Args:
        where: file, or `x.ark:123` in an archive.

    Attributes:
        shape: (T,).
        fs: rate in Hz.

    Raises:
        BadAudio: unreadable, or more than one channel.
    """

    def __init__(self, where: str):
        self.where = where
        try:
            self._file = soundfile.SoundFile(_seekable(where))
        except BadAudio:
            raise
        except Exception as error:  # libsndfile raises several types; each means "unreadable"
            raise BadAudio(f"{where}: unreadable: {error}") from error
        if self._file.channels != 1:
            raise BadAudio(f"{where}: {self._file.channels} channels, expected 1")
        self.shape, self.fs = (self._file.frames,), self._file.samplerate

    def __getitem__(self, cut: slice) -> np.ndarray:
        """(stop - start,) float32."""
        start, stop, step = cut.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"{self.where}: samples are read without gaps, not with step {step}")
        try:
            self._file.seek(start)
            return self._file.read(max(stop - start, 0), dtype="float32")
        except Exception as error:  # as above
            raise BadAudio(f"{self.where}: unreadable: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _seekable(where: str) -> str | IO[bytes]:
    match = ARCHIVED.match(where)
    if match is None:
        return where
    archive = open(match.group(1), "rb")  # noqa: SIM115  (closed with the Waveform's file)
    archive.seek(int(match.group(2)))
    head = archive.read(6)
    if head[:5] != b"AUDIO" or len(head) < 6:
        archive.close()
        raise BadAudio(f"{where}: no audio at this place; archive the set again")
    size = int.from_bytes(archive.read(head[5]), "little")
    return _Part(archive, archive.tell(), size)


class _Part(io.RawIOBase):
    """A file within a file."""

    def __init__(self, whole: IO[bytes], start: int, size: int):
        self.whole, self.start, self.size, self.at = whole, start, size, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        self.at = max(0, base + offset)
        return self.at

    def tell(self) -> int:
        return self.at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self.whole.seek(self.start + self.at)
        count = self.whole.readinto(memoryview(buffer)[: max(self.size - self.at, 0)])
        self.at += count
        return count

    def read(self, size: int = -1) -> bytes:
        left = max(self.size - self.at, 0)
        self.whole.seek(self.start + self.at)
        data = self.whole.read(left if size < 0 else min(size, left))
        self.at += len(data)
        return data

    def close(self) -> None:
        self.whole.close()
        super().close()
