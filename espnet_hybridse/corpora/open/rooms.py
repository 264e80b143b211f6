"""Measured rooms: responses cut to begin with the direct path and to decay as living rooms do."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.corpora.open.fetch import Fetched
from espnet_hybridse.fileio.audio import RATES, BadAudio, resample, write_audio
from espnet_hybridse.fileio.decode import read_samples

MAX_T60 = 1.2
"""Longest reverberation time in s; longer ones are damped to it (our choice: no halls)."""

MAX_SECONDS = 1.5
LEAD_SECONDS = 0.001
"""What is kept before the direct path: the ringing of its fractional delay."""

EARLY_DB = -12.0
"""A response with more than this before its peak, re the peak, has no clear direct path."""

SETS = {
    "medium_room": "test",
    "35_10": "test",
    "jack_lyons_hall": "test",
    "medium_hall": "valid",
    "kitchen": "valid",
}
"""Room -> set; the others are in train."""


@dataclass(frozen=True)
class Room:
    """Responses of one room as files."""

    name: str
    paths: tuple[Path, ...]

    @property
    def set(self) -> str:
        return SETS.get(self.name, "train")


def make_measured_rooms(
    fetched: Fetched, out: Path
) -> tuple[list[Room], list[tuple[str, str, str]]]:
    """Write the responses of a repository to `out` as float WAV at their own rate.

    Returns:
        The rooms, and `(uid, path, reason)` of every response that cannot be used.
    """
    rooms: dict[str, list[Path]] = {}
    bad: list[tuple[str, str, str]] = []
    for path in fetched.audio:
        name = room_name(path)
        try:
            responses, fs = read_responses(path)
        except BadAudio as error:
            bad.append((name, str(path), str(error)))
            continue
        target_fs = max(rate for rate in RATES if rate <= fs)
        for index, response in enumerate(responses):
            uid = f"measured-{name}-{_stamp(path)}-{index:03d}"
            file = out / f"{uid}.wav"
            try:
                if not file.is_file():
                    rir = shape_response(resample(response, fs, target_fs), target_fs)
                    write_audio(file, rir, target_fs, subtype="FLOAT")
            except BadAudio as error:
                bad.append((uid, str(path), str(error)))
                continue
            rooms.setdefault(name, []).append(file)
    return [Room(name, tuple(paths)) for name, paths in sorted(rooms.items())], bad


def room_name(path: Path) -> str:
    """The room of a file: collections share rooms, and some hold several responses of one."""
    stem = path.stem.lower()
    for mark, name in ROOMS.items():
        if mark in stem:
            return name
    return stem.split(",")[0].replace(" ", "_").replace("'", "").replace(".", "")


ROOMS = {
    "genesis_6": "genesis_6",
    "genesis 6": "genesis_6",
    "small_room": "genesis_6",
    "35-10": "35_10",
    "kitchen": "kitchen",
    "unis_room_a": "unis_room_a",
    "unis_room_b": "unis_room_b",
    "unis_room_c": "unis_room_c",
    "unis_room_d": "unis_room_d",
}


def _stamp(path: Path) -> str:
    """Eight digits for a file's name, as names hold blanks and commas."""
    return f"{zlib.crc32(path.name.encode()):08x}"


def read_responses(path: Path) -> tuple[np.ndarray, int]:
    """Responses (N, T) float32 and their rate in Hz: every ear of a SOFA file, or one channel.

    Raises:
        BadAudio: unreadable, or a SOFA file without the h5py library.
    """
    if path.suffix == ".sofa":
        return _read_sofa(path)
    samples, fs = read_samples(path)
    # Of B-format the first channel has no direction; of a true stereo response it is one path.
    return samples[:1], fs


def _read_sofa(path: Path) -> tuple[np.ndarray, int]:
    try:
        import h5py
    except ImportError as error:
        raise BadAudio("SOFA files need: pip install h5py") from error
    try:
        with h5py.File(path) as file:
            rirs = np.asarray(file["Data.IR"], dtype=np.float32)
            fs = int(np.ravel(file["Data.SamplingRate"])[0])
    except (OSError, KeyError, ValueError) as error:
        raise BadAudio(f"unreadable: {error}") from error
    return rirs.reshape(-1, rirs.shape[-1]), fs


def shape_response(rir: np.ndarray, fs: int) -> np.ndarray:
    """(T,) at `fs` Hz from just before its direct path, T60 at most MAX_T60, peak 1, float32.

    Raises:
        BadAudio: silent, not finite, or without a clear direct path.
    """
    if not rir.size or not np.isfinite(rir).all() or not rir.any():
        raise BadAudio("room response is empty, silent, or has NaN or Inf samples")
    peak = int(np.abs(rir).argmax())
    before = rir[: max(peak - int(0.0025 * fs), 0)]
    if before.size and np.abs(before).max() > abs(rir[peak]) * 10 ** (EARLY_DB / 20):
        raise BadAudio("no clear direct path: its peak comes after other strong arrivals")
    rir = rir[max(peak - int(LEAD_SECONDS * fs), 0) :].astype(np.float64)
    t60 = reverberation_time(rir, fs)
    if t60 > MAX_T60:
        seconds = np.arange(rir.size) / fs
        rir = rir * np.exp(-np.log(1000.0) * seconds * (1 / MAX_T60 - 1 / t60))
    rir = rir[: int(MAX_SECONDS * fs)]
    energy = np.cumsum(rir[::-1] ** 2)[::-1]
    rir = rir[: int(np.flatnonzero(energy > 1e-6 * energy[0])[-1]) + 1]
    fade = min(int(0.005 * fs), rir.size // 4)
    rir[rir.size - fade :] *= np.linspace(1.0, 0.0, fade)
    return (rir / np.abs(rir).max()).astype(np.float32)


def reverberation_time(rir: np.ndarray, fs: int) -> float:
    """T60 in s of (T,): Schroeder's decay from -5 to -25 dB, extrapolated."""
    decay = np.cumsum(rir[::-1].astype(np.float64) ** 2)[::-1]
    levels = 10 * np.log10(np.maximum(decay / decay[0], 1e-12))
    start, end = (int(np.argmax(levels <= level)) for level in (-5.0, -25.0))
    if end <= start:
        return 0.0
    slope = (levels[end] - levels[start]) * fs / (end - start)
    return -60.0 / slope
