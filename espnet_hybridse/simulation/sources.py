"""The source folder of a set: lists of speech, noise, wind and room responses."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.audio import (
    RATES,
    SILENCE_PEAK,
    check_audio,
    fit_length,
    read_audio,
    resample,
)
from espnet_hybridse.fileio.decode import Reader, open_audio, read_info, read_samples
from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.fileio.lists import ListError, read_list, read_sources
from espnet_hybridse.simulation.cache import AudioCache
from espnet_hybridse.simulation.config import SimulationConfig
from espnet_hybridse.simulation.meta import Sample

WHOLE_SECONDS = 30.0
"""Noises up to this long are read and kept whole."""

Table = dict[str, tuple[int, str]]

NAMES = {
    "speech": ("speech.scp", "speech_sources.scp"),
    "noise": ("noise.scp", "noise_scoures.scp"),
    "wind": ("wind.scp", "wind_noise_scoures.scp"),
    "rir": ("rir.scp", "rirs.scp"),
}
"""File of each list: ours, and that of the challenge's train_sources, spelt as it is there."""


@dataclass(frozen=True)
class Sources:
    """uid -> (fs in Hz, path) for each kind, and uid -> value for the speech's labels.

    lengths: samples of each speech file at its own rate, where a list says so; else empty
    """

    speech: Table
    noise: Table
    wind: Table
    rir: Table
    utt2spk: dict[str, str]
    text: dict[str, str]
    utt2lang: dict[str, str]
    lengths: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Sources":
        """Read a source folder: ours (`hybridse prepare`), or the challenge's `train_sources`.

        Speech and noise lists must be there. Wind, room responses, text, utt2lang and
        source_length.scp may be missing; without utt2spk every utterance is its own speaker.

        Raises:
            ListError: a needed list is missing, or one that is there is empty or malformed.
        """
        folder = Path(folder)
        found = {
            kind: next((folder / name for name in names if (folder / name).is_file()), None)
            for kind, names in NAMES.items()
        }
        for kind in ("speech", "noise"):
            if found[kind] is None:
                raise ListError(
                    f"{folder}: no {' or '.join(NAMES[kind])}; run 'hybridse prepare', or name a "
                    "folder with the challenge's train_sources"
                )
        if not (folder / "utt2spk").is_file():
            logging.warning("%s: no utt2spk; every utterance is its own speaker", folder)

        def labels(name: str) -> dict[str, str]:
            path = folder / name
            # The challenge's scripts leave an empty text.
            return read_list(path) if path.is_file() and path.stat().st_size else {}

        lengths = labels("source_length.scp")
        bad = next((uid for uid, length in lengths.items() if not length.isdigit()), None)
        if bad is not None:
            raise ListError(
                f"{folder}/source_length.scp: {bad}: {lengths[bad]!r} is no number of samples"
            )
        return cls(
            **{kind: read_sources(path) if path else {} for kind, path in found.items()},
            utt2spk=labels("utt2spk"),
            text=labels("text"),
            utt2lang=labels("utt2lang"),
            lengths={uid: int(length) for uid, length in lengths.items()},
        )

    def only(self, sample: Sample) -> "Sources":
        """The few entries that rendering `sample` needs, small enough to send to a worker."""

        def entry(table, uid):
            return {uid: table[uid]} if uid in table else {}

        return Sources(
            speech=entry(self.speech, sample.speech_uid),
            noise=entry(self.noise, sample.noise_uid),
            wind=entry(self.wind, sample.noise_uid),
            rir=entry(self.rir, sample.rir_uid),
            utt2spk={},
            text={},
            utt2lang={},
        )


@dataclass(frozen=True)
class SpeechPool:
    """Speech that fits the config: uid -> seconds, and what was left out and why.

    several: uids of files that were seen to have more than one channel
    """

    seconds: dict[str, float]
    bad: list[tuple[str, str, str]]
    outside: int
    several: frozenset[str] = frozenset()


def scan_speech(sources: Sources, config: SimulationConfig) -> SpeechPool:
    """Find the speech that fits: by the list of lengths where there is one, else by the headers.

    Raises:
        ListError: no file is left between min_seconds and max_seconds.
    """
    seconds, bad, outside, several = {}, [], 0, set()
    for uid, (fs, path) in sorted(sources.speech.items()):
        try:
            frames, channels = _frames(uid, fs, path, sources)
            if fs < RATES[0] and not config.allow_upsampling:
                raise BadAudio(f"rate {fs} Hz is below {RATES[0]} Hz, the lowest of the set")
        except BadAudio as error:
            bad.append((uid, path, str(error)))
            continue
        if config.min_seconds <= frames / fs <= config.max_seconds:
            seconds[uid] = frames / fs
            if channels > 1:
                several.add(uid)
        else:
            outside += 1
    if not seconds:
        raise ListError(
            f"no speech to simulate from: {len(bad)} bad files, {outside} outside "
            f"{config.min_seconds}-{config.max_seconds} s, of {len(sources.speech)} in the list"
            + "".join(f"; the first: {path}: {reason}" for _, path, reason in bad[:1])
        )
    return SpeechPool(seconds, bad, outside, frozenset(several))


def _frames(uid: str, fs: int, path: str, sources: Sources) -> tuple[int, int]:
    """Length in samples and channels (1 where a list gives the length) of one speech file.

    Raises:
        BadAudio: says why it cannot be used.
    """
    if sources.utt2spk and uid not in sources.utt2spk:
        raise BadAudio("uid has no speaker in utt2spk")
    if fs < 1:
        raise BadAudio(f"rate {fs} Hz")
    if sources.lengths:
        if uid not in sources.lengths:
            raise BadAudio("uid has no length in source_length.scp")
        return sources.lengths[uid], 1
    info = read_info(path, exact=True)
    if info.fs != fs:
        raise BadAudio(f"the list says {fs} Hz, the file {info.fs} Hz")
    if not info.frames:
        raise BadAudio("empty: the file holds no sample")
    return info.frames, info.channels


def serves(source_fs: int, fs: int) -> bool:
    """Whether a source holds the band of `fs` Hz; 44.1 kHz counts as full band (our choice)."""
    return source_fs >= min(fs, 44100)


def read_speech(path: str, fs: int, length: int, cache: AudioCache) -> np.ndarray:
    """Read speech, its first channel, as (length,) float32 at `fs` Hz.

    Raises:
        BadAudio: unfit, or more than 50 ms away from the length its header promised.
    """

    def make() -> tuple[np.ndarray, int]:
        wav, source_fs = read_audio(path, "first")
        return resample(wav, source_fs, fs), fs

    wav, _ = cache.get(path, make, "speech", fs)
    if abs(wav.size - length) > 0.05 * fs:
        raise BadAudio(f"{wav.size / fs:.2f} s of audio, the list says {length / fs:.2f} s")
    return fit_length(wav, length)


def read_segment(
    path: str, fs: int, length: int, rng: np.random.Generator, cache: AudioCache
) -> np.ndarray:
    """Read a random stretch of noise as (length,) float32 at `fs` Hz; short files are repeated.

    Of several channels the first is taken, as the challenge does: WHAM! has two.

    Only the stretch is resampled, and of long recordings only the stretch is read, so that
    hour-long ones cost no more than short ones. A silent stretch is drawn again, four times at
    most.

    Raises:
        BadAudio: unreadable, empty, with NaN, or silent wherever it was read.
    """
    whole, source_fs = cache.get(path, lambda: _read_noise(path), "noise")
    with open_audio(path) if not whole.size else nullcontext() as file:
        frames = file.info.frames if file else whole.size
        need = -(-length * source_fs // fs)
        for _ in range(5):
            if frames > need:
                start = int(rng.integers(0, frames - need))
                if file:
                    file.seek(start)
                wav = _first(file, need) if file else whole[start : start + need]
            else:
                wav = check_audio(_first(file, frames) if file else whole, source_fs)
                wav = np.resize(np.roll(wav, -int(rng.integers(0, wav.size))), need)
            if not np.isfinite(wav).all():
                raise BadAudio("NaN or Inf samples")
            if wav.size and np.abs(wav).max() >= SILENCE_PEAK:
                return fit_length(resample(wav, source_fs, fs), length)
    raise BadAudio("silent in five stretches")


def _read_noise(path: str) -> tuple[np.ndarray, int]:
    """A recording of up to WHOLE_SECONDS, or nothing of a longer one, and its rate in Hz."""
    with open_audio(path, exact=True) as file:
        if not file.info.frames:
            raise BadAudio("empty: the file holds no sample")
        if file.info.frames > WHOLE_SECONDS * file.info.fs:
            return np.zeros(0, np.float32), file.info.fs
        return _first(file, file.info.frames), file.info.fs


def _first(file: Reader, frames: int) -> np.ndarray:
    """The next `frames` samples of the first channel."""
    return np.ascontiguousarray(file.read(frames)[0])


def read_rir(path: str, fs: int, cache: AudioCache) -> np.ndarray:
    """Read a room response's first channel as (R,) float32 at `fs` Hz, however short.

    Raises:
        BadAudio: unreadable, empty, silent, or with NaN.
    """

    def make() -> tuple[np.ndarray, int]:
        rir, source_fs = read_samples(path)
        if not (rir.size and np.abs(rir[0]).max() > SILENCE_PEAK):
            raise BadAudio("room response is empty or silent")
        return resample(rir[0], source_fs, fs), fs

    return cache.get(path, make, "rir", fs)[0]
