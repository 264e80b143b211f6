"""The source folder of a set: lists of speech, noise, wind and room responses."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from espnet_hybridse.audio import (
    SILENCE_PEAK,
    BadAudio,
    check_audio,
    fit_length,
    read_audio,
    resample,
)
from espnet_hybridse.lists import ListError, read_list, read_sources
from espnet_hybridse.simulation.config import SimulationConfig
from espnet_hybridse.simulation.meta import Sample

Table = dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Sources:
    """uid -> (fs in Hz, path) for each kind, and uid -> value for the speech's labels."""

    speech: Table
    noise: Table
    wind: Table
    rir: Table
    utt2spk: dict[str, str]
    text: dict[str, str]
    utt2lang: dict[str, str]

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Sources":
        """Read `{speech,noise,wind,rir}.scp` (`uid fs path`), utt2spk, text and utt2lang.

        wind.scp, rir.scp, text and utt2lang may be missing.

        Raises:
            ListError: a needed list is missing or malformed, or a speech uid has no speaker.
        """
        folder = Path(folder)

        def optional(read, name):
            return read(folder / name) if (folder / name).is_file() else {}

        sources = cls(
            speech=read_sources(folder / "speech.scp"),
            noise=read_sources(folder / "noise.scp"),
            wind=optional(read_sources, "wind.scp"),
            rir=optional(read_sources, "rir.scp"),
            utt2spk=read_list(folder / "utt2spk"),
            text=optional(read_list, "text"),
            utt2lang=optional(read_list, "utt2lang"),
        )
        missing = sorted(set(sources.speech) - set(sources.utt2spk))
        if missing:
            raise ListError(
                f"{folder}/utt2spk: no speaker for {len(missing)} uids of speech.scp, the first "
                f"{missing[0]!r}; add a line 'uid speaker' for each"
            )
        return sources

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
    """Speech that fits the config: uid -> seconds, and what was left out and why."""

    seconds: dict[str, float]
    bad: list[tuple[str, str, str]]
    outside: int


def scan_speech(sources: Sources, config: SimulationConfig) -> SpeechPool:
    """Read every speech file's header.

    Raises:
        ListError: no file is left between min_seconds and max_seconds.
    """
    seconds, bad, outside = {}, [], 0
    for uid, (fs, path) in sorted(sources.speech.items()):
        try:
            info = soundfile.info(path)
        except (RuntimeError, OSError, TypeError) as error:
            bad.append((uid, path, f"unreadable: {error}"))
            continue
        if info.samplerate != fs:
            bad.append((uid, path, f"the list says {fs} Hz, the file {info.samplerate} Hz"))
        elif info.channels != 1:
            bad.append((uid, path, f"{info.channels} channels, expected 1"))
        elif config.min_seconds <= info.duration <= config.max_seconds:
            seconds[uid] = info.frames / fs
        else:
            outside += 1
    if not seconds:
        raise ListError(
            f"no speech to simulate from: {len(bad)} bad files, {outside} outside "
            f"{config.min_seconds}-{config.max_seconds} s, of {len(sources.speech)} in speech.scp"
        )
    return SpeechPool(seconds, bad, outside)


def serves(source_fs: int, fs: int) -> bool:
    """Whether a source holds the band of `fs` Hz; 44.1 kHz counts as full band (our choice)."""
    return source_fs >= min(fs, 44100)


def read_speech(path: str, fs: int, length: int) -> np.ndarray:
    """Read speech as (length,) float32 at `fs` Hz.

    Raises:
        BadAudio: unfit, or more than 50 ms away from the length its header promised.
    """
    wav, source_fs = read_audio(path)
    wav = resample(wav, source_fs, fs)
    if abs(wav.size - length) > 0.05 * fs:
        raise BadAudio(f"{wav.size / fs:.2f} s of audio, the list says {length / fs:.2f} s")
    return fit_length(wav, length)


def read_segment(path: str, fs: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Read a random stretch of noise as (length,) float32 at `fs` Hz; short files are repeated.

    Only the stretch is read and resampled, so that hour-long recordings cost no more than short
    ones. A silent stretch is drawn again, four times at most.

    Raises:
        BadAudio: unreadable, multichannel, with NaN, or silent wherever it was read.
    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.channels != 1:
                raise BadAudio(f"{file.channels} channels, expected 1")
            need = -(-length * file.samplerate // fs)
            for _ in range(5):
                if file.frames > need:
                    file.seek(int(rng.integers(0, file.frames - need)))
                    wav = file.read(need, dtype="float32")
                else:
                    file.seek(0)
                    wav = check_audio(file.read(dtype="float32"), file.samplerate)
                    wav = np.resize(np.roll(wav, -int(rng.integers(0, wav.size))), need)
                if not np.isfinite(wav).all():
                    raise BadAudio("NaN or Inf samples")
                if wav.size and np.abs(wav).max() >= SILENCE_PEAK:
                    return fit_length(resample(wav, file.samplerate, fs), length)
    except (RuntimeError, OSError, TypeError) as error:
        raise BadAudio(f"unreadable: {error}") from error
    raise BadAudio("silent in five stretches")


def read_rir(path: str, fs: int) -> np.ndarray:
    """Read a room response's first channel as (T,) float32 at `fs` Hz, however short.

    Raises:
        BadAudio: unreadable, empty, silent, or with NaN.
    """
    try:
        rir, source_fs = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, OSError, TypeError) as error:
        raise BadAudio(f"unreadable: {error}") from error
    if not (rir.size and np.isfinite(rir).all() and np.abs(rir[:, 0]).max() > SILENCE_PEAK):
        raise BadAudio("room response is empty, silent, or has NaN or Inf samples")
    return resample(rir[:, 0], source_fs, fs)
