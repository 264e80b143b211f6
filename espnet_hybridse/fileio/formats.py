"""What is audio, for the whole project: its endings, what can be written of it, what is bad."""

import os
from dataclasses import dataclass
from pathlib import Path

CONTAINERS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".mp3": "MP3",
    ".opus": "OGG",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".w64": "W64",
    ".rf64": "RF64",
    ".au": "AU",
    ".caf": "CAF",
    ".wave": "WAV",
    ".bwf": "WAV",
    ".oga": "OGG",
    ".aifc": "AIFF",
    ".snd": "AU",
    ".sph": "NIST",
    ".nist": "NIST",
}
"""Endings that can be written, and libsndfile's names of their containers."""

# Demuxers of FFmpeg, where a file's bytes do not say what it is.
HEADERLESS = {".g722": "g722", ".gsm": "gsm"}
"""Endings of streams without a header, and FFmpeg's names of them."""

READ_ONLY = (
    # sound and video that libsndfile does not know
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".aac", ".webm", ".mkv", ".mka"),
    *(".wma", ".asf", ".wmv", ".avi", ".flv", ".mpg", ".mpeg", ".ts", ".mp2", ".ac3", ".eac3"),
    *(".amr", ".awb", ".ape", ".wv", ".tta", ".spx", ".ra", ".rm"),
    *HEADERLESS,
    # what libsndfile reads and we do not write
    *(".voc", ".sds", ".avr", ".svx", ".8svx", ".ircam", ".sf"),
)
"""Endings that can be read but not written: results become FLAC."""

AUDIO_SUFFIXES = (*CONTAINERS, *READ_ONLY)
WRITTEN_SUFFIXES = tuple(CONTAINERS)
FALLBACK_SUFFIX = ".flac"
"""Ending of a result whose source's container cannot be written."""

EXACT = ("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")
"""Beginnings of subtypes that hold every sample by itself."""
UNBOUNDED = ("FLOAT", "DOUBLE")
"""Subtypes whose samples may lie above 1."""
COMPRESSED = {"VORBIS", "OPUS", "MPEG_LAYER_III", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"}
"""Subtypes of frames whose containers say how many samples are meant."""


class BadAudio(ValueError):
    """A file that cannot be used; the message is the reason written to the quarantine."""


@dataclass(frozen=True)
class AudioInfo:
    """What a header says.

    Attributes:
        frames: samples of each channel.
        container, subtype: libsndfile's names, or FFmpeg's of what only that reads.
        exact: whether `frames` is a promise; else it is a guess, as of an MP3.
        warning: what is wrong with the header, if it can be read nevertheless.
    """

    fs: int
    channels: int
    frames: int
    container: str
    subtype: str
    exact: bool = True
    warning: str | None = None

    @property
    def seconds(self) -> float:
        return self.frames / self.fs


def is_audio(path: str | os.PathLike) -> bool:
    """Whether the ending is that of audio."""
    return Path(path).suffix.lower() in AUDIO_SUFFIXES


def keeps_length(subtype: str) -> bool:
    """Whether a file of this subtype holds exactly the samples that were written.

    Block-coded ones (ADPCM, GSM 6.10, G.72x) are filled up to a whole block.
    """
    return subtype in COMPRESSED or subtype.startswith(EXACT)


def shown(name: str | os.PathLike[str]) -> str:
    r"""A file name as text that can be written anywhere: bytes that are not UTF-8 become `\xe9`."""
    text = os.fspath(name)
    if text.isascii():
        return text
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, out of JSON
        data = text.encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "backslashreplace")
