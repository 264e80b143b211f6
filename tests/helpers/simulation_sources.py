"""Source folders of synthetic audio, for the tests of the simulation."""

from pathlib import Path

import numpy as np
import soundfile

from espnet_hybridse.simulation.distortions.wind import generate_wind


def voice(seconds: float, fs: int, seed: int = 0) -> np.ndarray:
    """Harmonics with a moving pitch plus noise, in syllables: (T,) float32."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * fs)) / fs
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 1.3 * times)) / fs
    tones = sum(np.sin(k * phase + rng.uniform(0, 6)) / k**0.7 for k in range(1, 28))
    wav = (tones + 0.6 * rng.standard_normal(times.size)) * np.clip(
        np.sin(2 * np.pi * 2.5 * times + seed), 0, 1
    )
    return (0.3 * wav / np.abs(wav).max()).astype(np.float32)


def make_sources(folder: Path, seed: int, num: int = 6) -> Path:
    """A source folder of synthetic audio at 48, 44.1 and 16 kHz."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lists = {"speech": [], "noise": [], "wind": [], "rir": []}

    def put(kind: str, uid: str, wav: np.ndarray, fs: int) -> None:
        path = folder / f"{uid}.wav"
        soundfile.write(path, wav, fs)
        lists[kind].append(f"{uid} {fs} {path}")

    for index in range(num):
        fs = (48000, 44100, 16000)[index % 3]
        put("speech", f"s{seed}_{index}", voice(rng.uniform(0.6, 1.2), fs, seed + index), fs)
    for index, seconds in enumerate((0.3, 3.0)):
        noise = 0.1 * rng.standard_normal(int(seconds * 48000))
        put("noise", f"n{seed}_{index}", noise, 48000)
    put("wind", f"wind_noise{seed}", generate_wind(2.0, 48000, rng), 48000)
    for fs in (48000, 16000):
        rir = rng.standard_normal(fs // 4) * np.exp(-np.arange(fs // 4) / (0.05 * fs)) * 0.05
        rir[: fs // 100] = 0
        rir[fs // 100] = 0.5
        put("rir", f"r{seed}_{fs}", rir, fs)
    for kind, lines in lists.items():
        (folder / f"{kind}.scp").write_text("\n".join(lines) + "\n")
    uids = [f"s{seed}_{index}" for index in range(num)]
    (folder / "utt2spk").write_text("".join(f"{uid} spk{seed}\n" for uid in uids))
    (folder / "text").write_text("".join(f"{uid} some words\n" for uid in uids))
    return folder
