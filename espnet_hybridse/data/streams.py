"""The inputs of training: what each one is called, where it lies and how a crop of it is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.decode import open_audio
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
        made_of: the branch whose output it is, or nothing.
    """

    name: str
    list_name: str
    folder: str
    is_audio: bool
    branches: tuple[str, ...]
    made_by: str
    made_of: str = ""

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
    *(
        Stream(
            f"speech_{branch}",
            "spk1.scp",
            f"branches/{branch}",
            is_audio=True,
            branches=("hybrid",),
            made_by="hybridse enhance",
            made_of=branch,
        )
        for branch in ("disc", "gen")
    ),
)
"""All inputs, in the order in which they are read."""
WAVEFORMS = tuple(stream.name for stream in STREAMS if stream.is_audio)
DUMPED = tuple(stream.name for stream in STREAMS if stream.made_of)
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
            # Of what only guesses its length the whole is decoded once.
            self._file = open_audio(where, exact=True)
        except BadAudio as error:
            raise BadAudio(f"{where}: {error}") from error
        info = self._file.info
        if info.channels != 1:
            self._file.close()
            raise BadAudio(f"{where}: {info.channels} channels, expected 1")
        self.shape, self.fs = (info.frames,), info.fs

    def __getitem__(self, cut: slice) -> np.ndarray:
        """(stop - start,) float32."""
        start, stop, step = cut.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"{self.where}: samples are read without gaps, not with step {step}")
        try:
            self._file.seek(start)
            return self._file.read(max(stop - start, 0))[0]
        except BadAudio as error:
            raise BadAudio(f"{self.where}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
