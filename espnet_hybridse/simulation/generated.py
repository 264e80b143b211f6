"""Noise made instead of recorded: stationary spectra, hum and wind, to widen a small collection."""

from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.audio import write_audio
from espnet_hybridse.simulation.distortions.wind import generate_wind

FS = 48000
SECONDS = 10.0


def write_generated(kind: str, count: int, folder: Path, seed: int, pool: Executor) -> list[Path]:
    """Write `count` 10-s files of one kind at 48 kHz.

    A file depends on (seed, kind, number) only: files that exist are kept.

    Args:
        kind: "stationary" or "wind".

    Raises:
        ValueError: fewer than one file.
    """
    if count < 1:
        raise ValueError(f"{count} {kind} noises; accepted: 1 or more")
    return list(pool.map(partial(_write, kind, folder, seed), range(count)))


def _write(kind: str, folder: Path, seed: int, number: int) -> Path:
    path = folder / f"{kind}-{number:04d}.flac"
    if not path.is_file():
        make = {"stationary": generate_stationary, "wind": generate_wind}[kind]
        wav = make(SECONDS, FS, np.random.default_rng([seed, len(kind), number]))
        write_audio(path, 0.9 * wav / np.abs(wav).max(), FS)
    return path


def generate_stationary(seconds: float, fs: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with a random spectrum, one time in three with mains hum: (T,) float32.

    The slope is drawn from 0 (white) to -6 dB per octave (brown) and a random curve of
    +-9 dB over frequency is added, so that fans, hiss and rumble are covered (our choice).
    """
    length = int(seconds * fs)
    frequencies = np.fft.rfftfreq(length, 1 / fs)
    octaves = np.log2(np.maximum(frequencies, 20.0) / 20.0)
    knots = np.linspace(0.0, octaves[-1], 8)
    gain_db = rng.uniform(-6.0, 0.0) * octaves + np.interp(octaves, knots, rng.uniform(-9, 9, 8))
    spectrum = np.fft.rfft(rng.standard_normal(length)) * 10 ** (gain_db / 20)
    spectrum[0] = 0.0
    wav = np.fft.irfft(spectrum, length)
    if rng.random() < 1 / 3:
        time = np.arange(length) / fs
        mains = rng.choice([50.0, 60.0])
        hum = sum(
            np.sin(2 * np.pi * mains * k * time + rng.uniform(0, 2 * np.pi)) / k
            for k in range(1, 9)
        )
        wav = wav + rng.uniform(0.5, 2.0) * wav.std() / hum.std() * hum
    return wav.astype(np.float32)
