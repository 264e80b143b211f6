"""Demonstration of the distortions on one recording: a file of each, a picture of all."""

from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.audio import (
    RATES,
    BadAudio,
    check_audio,
    nearest_rate,
    read_audio,
    resample,
    write_audio,
)
from espnet_hybridse.fileio.pictures import Picture, plot_branches, pyplot
from espnet_hybridse.simulation.degrade import PEAK, highpass
from espnet_hybridse.simulation.distortions.bandwidth import BandwidthLimitation
from espnet_hybridse.simulation.distortions.clipping import Clipping
from espnet_hybridse.simulation.distortions.codec import Codec
from espnet_hybridse.simulation.distortions.noise import AdditiveNoise
from espnet_hybridse.simulation.distortions.packet_loss import PacketLoss, draw_lost_packets
from espnet_hybridse.simulation.distortions.reverberation import Reverberation
from espnet_hybridse.simulation.distortions.wind import WindNoise, generate_wind
from espnet_hybridse.simulation.generated import generate_stationary

SECONDS = 10.0
"""Of the recording that are shown."""
PICTURE = "spectrograms.png"


def write_demo(file: str | Path, out: str | Path, seed: int = 0) -> list[Path]:
    """Write clean.flac, one file per distortion and spectrograms.png to `out`; return the paths.

    Noise, wind and room are made here, so one recording is all that is needed; rates outside the
    seven are resampled to the next.

    Raises:
        BadAudio: `file` cannot be used.
        ValueError: matplotlib is not installed.
    """
    pyplot()  # refuses before any work
    out = Path(out)
    if not Path(file).is_file():
        raise BadAudio(f"{file}: no such file; name a recording of speech")
    try:
        wav, source_fs = read_audio(file)
        fs = nearest_rate(source_fs)
        wav = check_audio(resample(wav[: int(SECONDS * source_fs)], source_fs, fs), fs)
    except BadAudio as error:
        raise BadAudio(f"{file}: {error}; name a recording of speech in one channel") from error
    clean = highpass(wav, fs, 70.0)
    signals = {"clean": clean, **distorted(clean, fs, np.random.default_rng(seed))}
    paths = []
    for name, signal in signals.items():
        paths.append(out / f"{name}.flac")
        write_audio(paths[-1], PEAK * signal / max(np.abs(signal).max(), 1e-10), fs)
    pictures = [Picture(name.replace("_", " "), wave=signal) for name, signal in signals.items()]
    plot_branches({f"{Path(file).name}, {fs} Hz": (fs, pictures)}, out / PICTURE)
    return [*paths, out / PICTURE]


def distorted(clean: np.ndarray, fs: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every distortion of clean (T,) at `fs` Hz, each by itself: name -> (T,) float32.

    Settings are from the middle of the challenge's ranges; codecs are at a low quality, where
    they can be heard.
    """
    seconds = clean.size / fs + 0.1
    room = Reverberation(decaying_noise(0.5, fs, rng))
    wind = WindNoise(0.2, 10.0, 20.0, 50.0, 1.0, True, 0.9)
    lost = draw_lost_packets(clean.size * 50 // fs, 0.15, 10, rng)
    kinds = {
        "noise": AdditiveNoise(5.0, generate_stationary(seconds, fs, rng)),
        "wind_noise": wind.mixed_with(generate_wind(seconds, fs, rng), 0.0),
        "reverberation": room,
        "clipping": Clipping(0.05, 0.95),
        # At 8 kHz, the lowest of the seven, there is no lower one: half of it, to be heard.
        "bandwidth_limitation": BandwidthLimitation("soxr_hq", max(fs // 3, RATES[0] // 2)),
        "codec_mp3": Codec("mp3", None, 9),
        "codec_vorbis": Codec("ogg", "vorbis", -1),
        "codec_opus": Codec("ogg", "opus", 0),
        "packet_loss": PacketLoss(lost, 20),
    }
    signals = {name: kind.apply(clean, fs, rng) for name, kind in kinds.items()}
    signals["reverberation_target"] = room.target(clean, fs)
    return signals


def decaying_noise(rt60: float, fs: int, rng: np.random.Generator) -> np.ndarray:
    """A simple room response (R,): the direct path, then noise that falls by 60 dB in `rt60` s."""
    times = np.arange(int(rt60 * fs)) / fs
    rir = 0.03 * rng.standard_normal(times.size) * 10 ** (-3 * times / rt60)
    rir[0] = 1.0
    return rir.astype(np.float32)
