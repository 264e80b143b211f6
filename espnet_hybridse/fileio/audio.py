"""Reading, checking, resampling and writing audio. Waveforms are float32 numpy arrays (T,)."""

import io
import re
from pathlib import Path
from typing import IO, Optional, Tuple, Union

import numpy as np
import soundfile
import soxr

from espnet_hybridse.fileio.lists import atomic_path

RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
"""The sampling rates of the challenge in Hz."""

MIN_SECONDS = 0.1
SILENCE_PEAK = 1e-5

ARCHIVED = re.compile(r"^(.*\.ark):(\d+)$")
"""What a list names an entry of an archive by, see espnet_hybridse.data.kaldi_ark."""


class BadAudio(ValueError):
    """A file that cannot be used; the message is the reason written to the quarantine."""


def check_rate(fs: int) -> int:
    """Return `fs` when it is one of the seven rates, else raise a ValueError saying what to do."""
    if fs not in RATES:
        raise ValueError(
            f"fs={fs} Hz is not one of {', '.join(map(str, RATES))}; "
            "resample the audio, or use Enhancer / 'hybridse enhance', which take any rate"
        )
    return fs


def nearest_rate(fs: int) -> int:
    """The lowest supported rate that is not below `fs` Hz (48000 for anything above)."""
    return next((rate for rate in RATES if rate >= fs), RATES[-1])


def open_audio(path: Union[str, Path]) -> Union[str, IO[bytes]]:
    """What soundfile reads: the path itself, or the file that lies in an archive at `x.ark:123`.

    Raises:
        BadAudio: there is no audio at that place of the archive.
    """
    match = ARCHIVED.match(str(path))
    if match is None:
        return str(path)
    with open(match.group(1), "rb") as archive:
        archive.seek(int(match.group(2)))
        head = archive.read(6)
        if head[:5] != b"AUDIO" or len(head) < 6:
            raise BadAudio(f"{path}: no audio at this place; archive the set again")
        size = int.from_bytes(archive.read(head[5]), "little")
        return io.BytesIO(archive.read(size))


def read_audio(path: Union[str, Path], first_channel: bool = False) -> Tuple[np.ndarray, int]:
    """Read a mono file that is fit for a stage: (T,) float32 and its rate in Hz.

    Args:
        first_channel: of a file with several channels take the first, and do not refuse it.

    Raises:
        BadAudio: unreadable, multichannel, shorter than 0.1 s, silent, or with NaN or Inf.
    """
    try:
        wav, fs = soundfile.read(open_audio(path), dtype="float32", always_2d=True)
    except BadAudio:
        raise
    except Exception as error:  # libsndfile raises several types; each means "unreadable"
        gone = not ARCHIVED.match(str(path)) and not Path(path).exists()
        raise BadAudio(f"unreadable: {'no such file' if gone else error}") from error
    if wav.shape[1] != 1 and not first_channel:
        raise BadAudio(f"{wav.shape[1]} channels, expected 1")
    return check_audio(np.ascontiguousarray(wav[:, 0]), fs), fs


def check_audio(wav: np.ndarray, fs: int) -> np.ndarray:
    """Return `wav` (T,) unchanged, or raise BadAudio with the reason it cannot be used."""
    if wav.size < MIN_SECONDS * fs:
        raise BadAudio(f"too short: {wav.size / fs:.3f} s, at least {MIN_SECONDS} s needed")
    if not np.isfinite(wav).all():
        raise BadAudio("NaN or Inf samples")
    if np.abs(wav).max() < SILENCE_PEAK:
        raise BadAudio("silent")
    return wav


def resample(wav: np.ndarray, fs: int, target_fs: int) -> np.ndarray:
    """Resample (T,) with soxr (very high quality, linear phase, no delay)."""
    if fs == target_fs:
        return wav
    return soxr.resample(wav, fs, target_fs, quality="VHQ").astype(np.float32)


def fit_length(wav: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-pad (T,) at its end to `length` samples."""
    return wav[:length] if wav.size >= length else np.pad(wav, (0, length - wav.size))


def write_audio(
    path: Union[str, Path],
    wav: np.ndarray,
    fs: int,
    subtype: str = "PCM_16",
    container: Optional[str] = None,
) -> None:
    """Write (T,) or (T, C) atomically, peaks clipped at 1.

    The container follows the suffix unless libsndfile's name of it is given.
    """
    wav = np.clip(wav, -1.0, 1.0)
    if subtype == "PCM_16":  # libsndfile's own conversion is slower, and for WAV rounds down
        wav = np.minimum(np.rint(wav * np.float32(32768)), 32767).astype(np.int16)
    # To an open file: libsndfile would wait for the disk at the end of each one that it opened.
    with atomic_path(path) as tmp, open(tmp, "wb+") as handle:
        soundfile.write(handle, wav, fs, subtype=subtype, format=container)
