"""Reading, checking, resampling and writing audio. Waveforms are float32 numpy arrays (T,)."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

from espnet_hybridse.fileio.decode import read_samples
from espnet_hybridse.fileio.formats import UNBOUNDED, BadAudio
from espnet_hybridse.fileio.lists import atomic_path

RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
"""The sampling rates of the challenge in Hz."""

MIN_SECONDS = 0.1
SILENCE_PEAK = 1e-5
PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


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


def read_audio(path: str | Path, channel: str = "only") -> tuple[np.ndarray, int]:
    """Read a file that is fit for use as one channel: (T,) float32 and its rate in Hz.

    Args:
        path: of a file of any kind, or `x.ark:123`; see :mod:`espnet_hybridse.fileio.decode`.
        channel: of a file with several take the "first" or their "mean"; "only" refuses it.

    Raises:
        BadAudio: unreadable, multichannel, shorter than 0.1 s, silent, or with NaN or Inf.
    """
    samples, fs = read_samples(path)
    if len(samples) != 1 and channel == "only":
        raise BadAudio(f"{len(samples)} channels, expected 1")
    wav = samples.mean(axis=0) if channel == "mean" else samples[0]
    return check_audio(np.ascontiguousarray(wav), fs), fs


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


def as_stored(wav: np.ndarray, subtype: str) -> np.ndarray:
    """Samples as libsndfile shall get them, peaks clipped where the subtype has no more.

    Whole numbers of plain PCM: libsndfile's own conversion multiplies by a number of its own, so
    that samples which were read and written again would change.
    """
    if subtype in UNBOUNDED:
        return wav
    bits = PCM_BITS.get(subtype)
    if bits is None:
        return np.clip(wav, -1.0, 1.0)
    # Into the upper bits of the type that is handed over; float32 holds 24 of them.
    kind = np.int16 if bits <= 16 else np.int32
    scale = 2.0 ** (bits - 1)
    whole = np.rint(wav * (np.float32(scale) if bits <= 24 else scale)).clip(-scale, scale - 1)
    return whole.astype(kind) << (8 * kind().itemsize - bits)


def write_audio(
    path: str | Path,
    wav: np.ndarray,
    fs: int,
    subtype: str = "PCM_16",
    container: str | None = None,
) -> None:
    """Write (T,) or (T, C) atomically, peaks clipped where the subtype has no more.

    The container follows the suffix unless libsndfile's name of it is given.
    """
    wav = as_stored(wav, subtype)
    # To an open file: libsndfile would wait for the disk at the end of each one that it opened.
    with atomic_path(path) as tmp, open(tmp, "wb+") as handle:
        soundfile.write(handle, wav, fs, subtype=subtype, format=container)
