"""A plain reading of the challenge's rendering procedure, for comparison only.

Every utterance is a task of its own: it reads its files whole, runs an external program for codecs
and wind, and resamples by librosa's `kaiser_best`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import convolve, filtfilt, firwin

from espnet_hybridse.fileio.audio import fit_length
from espnet_hybridse.simulation.distortions.bandwidth import BandwidthLimitation
from espnet_hybridse.simulation.distortions.codec import Codec
from espnet_hybridse.simulation.distortions.grammar import Distortion, parse_distortions
from espnet_hybridse.simulation.distortions.noise import scale_noise
from espnet_hybridse.simulation.distortions.wind import WindNoise
from espnet_hybridse.simulation.meta import Sample
from espnet_hybridse.simulation.sources import Sources

ENCODERS = {"mp3": "libmp3lame", "vorbis": "libvorbis", "opus": "libopus"}


def render(sample: Sample, sources: Sources, scratch: Path) -> None:
    """Write noisy and clean of one sample as FLAC below `scratch`.

    Raises:
        ValueError: librosa or resampy, or both ffmpeg and PyAV, are missing.
        RuntimeError: the external program failed.
    """
    try:
        import librosa
        import resampy  # noqa: F401  (librosa's kaiser_best is resampy's)
    except ImportError as error:
        raise ValueError(f"{error}; pip install 'espnet_hybridse[bench]'") from error

    def read(entry: tuple[int, str]) -> np.ndarray:
        wav, fs = soundfile.read(entry[1])
        return librosa.resample(wav, orig_sr=fs, target_sr=sample.fs, res_type="soxr_hq")

    fs, rng = sample.fs, np.random.default_rng(sample.seed)
    speech = fit_length(read(sources.speech[sample.speech_uid]), sample.length)
    taps = firwin(max(int(fs / 33) | 1, 101), 70, pass_zero=False, fs=fs)
    speech = filtfilt(taps, 1.0, speech)
    clean = noisy = speech
    if sample.rir_uid != "none":
        rir = read(sources.rir[sample.rir_uid])
        early = rir[: int(np.abs(rir).argmax()) + int(0.05 * fs)]
        noisy = convolve(speech, rir)[: speech.size]
        clean = convolve(speech, early)[: speech.size]
    noise = read({**sources.noise, **sources.wind}[sample.noise_uid])
    start = int(rng.integers(max(noise.size - speech.size, 0) + 1))
    noise = np.resize(noise[start : start + speech.size], speech.size)
    noise = scale_noise(noisy, noise, fs, sample.snr_dB)
    distortions = parse_distortions(sample.augmentation)
    winds = [distortion for distortion in distortions if isinstance(distortion, WindNoise)]
    noisy = _wind(noisy, noise, fs, winds[0], scratch) if winds else noisy + noise
    for distortion in distortions:
        if not isinstance(distortion, WindNoise):
            noisy = _distort(noisy, fs, distortion, scratch)
    gain = 0.9 / max(np.abs(noisy).max(), np.abs(clean).max())
    for name, wav in (("noisy", noisy), ("clean", clean)):
        soundfile.write(scratch / f"{name}_{sample.id}.flac", wav * gain, fs)


def _distort(wav: np.ndarray, fs: int, distortion: Distortion, scratch: Path) -> np.ndarray:
    import librosa

    if isinstance(distortion, Codec):
        return _codec(wav, fs, distortion, scratch)
    if isinstance(distortion, BandwidthLimitation):
        if distortion.fs_new >= fs:
            return wav
        for source, target in ((fs, distortion.fs_new), (distortion.fs_new, fs)):
            kind = {"orig_sr": source, "target_sr": target, "res_type": "kaiser_best"}
            wav = librosa.resample(wav, **kind)
        return fit_length(wav, len(wav))
    return distortion.apply(wav, fs)


def _codec(wav: np.ndarray, fs: int, codec: Codec, scratch: Path) -> np.ndarray:
    """Encode to a file and decode it by an external program."""
    plain, coded, back = (scratch / f"codec.{kind}" for kind in ("wav", codec.format, "back.wav"))
    soundfile.write(plain, wav / max(np.abs(wav).max(), 1e-10), fs)
    if shutil.which("ffmpeg"):
        if codec.name == "opus":
            quality = ["-b:a", f"{8 * (codec.qscale + 2)}k"]
        else:
            quality = ["-q:a", str(codec.qscale)]
        encoder = ["-c:a", ENCODERS[codec.name]]
        _call(["ffmpeg", "-y", "-v", "error", "-i", plain, *encoder, *quality, coded])
        _call(["ffmpeg", "-y", "-v", "error", "-i", coded, "-ar", fs, back])
    else:
        module = [sys.executable, "-m", "benchmarks.av_transcode"]
        _call([*module, plain, coded, ENCODERS[codec.name]])
        _call([*module, coded, back, "pcm_s16le"])
    return fit_length(soundfile.read(back)[0], wav.size)


def _wind(
    speech: np.ndarray, wind: np.ndarray, fs: int, kind: WindNoise, scratch: Path
) -> np.ndarray:
    """Side-chain compression and mixing by ffmpeg, then clipping."""
    if not shutil.which("ffmpeg"):
        raise ValueError("wind needs the ffmpeg program: apt-get install ffmpeg")
    paths = [scratch / f"wind_{name}.wav" for name in ("speech", "wind", "mix")]
    scale = 0.9 / max(np.abs(speech).max(), np.abs(wind).max())
    soundfile.write(paths[0], speech * scale, fs)
    soundfile.write(paths[1], wind * scale, fs)
    chain = (
        f"[1:a]asplit=2[side][mix];[0:a][side]sidechaincompress=threshold={kind.threshold}:"
        f"ratio={kind.ratio}:attack={kind.attack}:release={kind.release}:"
        f"level_sc={kind.sc_gain}[down];[down][mix]amix=inputs=2"
    )
    command = ["ffmpeg", "-y", "-v", "error", "-i", paths[0], "-i", paths[1]]
    _call([*command, "-filter_complex", chain, paths[2]])
    mix = fit_length(soundfile.read(paths[2])[0], speech.size) / scale
    if kind.clipping:
        mix = np.clip(mix, kind.clipping_threshold * mix.min(), kind.clipping_threshold * mix.max())
    return mix


def _call(command: list) -> None:
    done = subprocess.run(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
