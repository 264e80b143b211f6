"""What is rendered already, the lists of it, and the room on the disk for the rest."""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

from espnet_hybridse.fileio.disk import check_room
from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.simulation.distortions.grammar import name_of
from espnet_hybridse.simulation.meta import CLEAN_SNR_DB, NO_TEXT, Sample

LISTS = {
    "wav.scp": lambda sample: sample.noisy_path,
    "spk1.scp": lambda sample: sample.clean_path,
    "utt2fs": lambda sample: sample.fs,
    "utt2spk": lambda sample: sample.speech_sid,
    "utt2lang": lambda sample: sample.lang,
    "text": lambda sample: None if sample.text == NO_TEXT else sample.text,
    "speech_length.scp": lambda sample: sample.length,
    "utt2distortion": lambda sample: distortion_label(sample),
}
"""Kaldi-style lists of a set and what each says; wav.scp is put in place last."""

FLAC_SHARE = 0.65
"""Size of noisy and clean FLAC files together, relative to 16-bit samples (measured: 0.5-0.65)."""


class RenderedFiles:
    """Knows which files are there by reading each folder once, not by asking for every file."""

    def __init__(self):
        self._names = lru_cache(maxsize=8)(_names)

    def has(self, sample: Sample) -> bool:
        """Whether both audio files of a sample are in place."""
        paths = (sample.noisy_path, sample.clean_path)
        return all(name in self._names(folder) for folder, name in map(os.path.split, paths))


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder or "."))
    except FileNotFoundError:
        return frozenset()


def check_disk(out: Path, needed: float) -> None:
    """Raise a RuntimeError when `needed` bytes do not fit on the disk that holds `out`."""
    advice = "name another --out, or take fewer samples (--num) or --format flac"
    check_room(out, needed, "these samples", advice)


def audio_bytes(sample: Sample) -> float:
    """About what a sample's two files take on the disk."""
    return 4 * sample.length * (FLAC_SHARE if sample.noisy_path.endswith(".flac") else 1.0)


def write_lists(samples: Iterable[Sample], out: str | Path) -> int:
    """Write the Kaldi-style lists of `samples`, sorted by key, and return how many they are.

    Lines are written as they come; only lists that are not sorted then are sorted in memory, one
    at a time.
    """
    count, last, sorted_so_far = 0, "", True
    with ExitStack() as stack:
        # Left in reverse order: wav.scp, which marks the set as finished, is renamed last.
        paths = {name: stack.enter_context(atomic_path(Path(out) / name)) for name in LISTS}
        with ExitStack() as files:
            handles = {
                name: files.enter_context(open(path, "w", encoding="utf-8"))
                for name, path in paths.items()
            }
            for count, sample in enumerate(samples, 1):  # noqa: B007
                sorted_so_far = sorted_so_far and last < sample.id
                last = sample.id
                for name, value_of in LISTS.items():
                    value = value_of(sample)
                    if value is not None:
                        handles[name].write(f"{sample.id} {value}\n")
        if not sorted_so_far:
            for path in paths.values():
                _sort(path)
    return count


def _sort(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines.sort(key=lambda line: line.partition(" ")[0])
    path.write_text("".join(lines), encoding="utf-8")


def distortion_label(sample: Sample) -> str:
    """Names of all distortions of a sample, such as `noise+reverberation+codec`."""
    names = [name_of(part) for part in sample.augmentation.split("/")]
    names = [name for name in names if name not in ("", "none")]
    if sample.snr_dB == CLEAN_SNR_DB and not names and sample.rir_uid == "none":
        return "clean"
    if sample.noise_only:
        return "noise_only"
    if "wind_noise" not in names:
        names.insert(0, "noise")
    if sample.rir_uid != "none":
        names.insert(1, "reverberation")
    return "+".join(names)
