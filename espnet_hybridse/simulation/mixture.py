"""Step two of the simulation for one sample: from its parameters to noisy and clean waveforms."""

from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfiltfilt

from espnet_hybridse.audio import BadAudio, check_audio
from espnet_hybridse.simulation.distortions import parse_distortions
from espnet_hybridse.simulation.meta import Sample
from espnet_hybridse.simulation.noise import AdditiveNoise
from espnet_hybridse.simulation.reverberation import Reverberation
from espnet_hybridse.simulation.sources import Sources, read_rir, read_segment, read_speech
from espnet_hybridse.simulation.wind import WindNoise

PEAK = 0.9
"""Peak of the louder of noisy and clean, as in the challenge's data."""

cached_rir = lru_cache(maxsize=64)(read_rir)


class BadSource(BadAudio):
    """A source that cannot be used, with its path."""

    def __init__(self, path: str, reason: object):
        super().__init__(str(reason))
        self.path = path


def simulate(sample: Sample, sources: Sources) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy and clean, both (length,) float32 at sample.fs, under one gain.

    Order: high-pass, room, noise or wind, then the further distortions as they are listed.

    Raises:
        BadSource: a source is unreadable, silent, too short, multichannel or with NaN; or the
            parameters name a source or a distortion that is not known.
    """
    fs = sample.fs
    rng = np.random.default_rng(sample.seed)
    speech = _read(sources.speech, sample.speech_uid, read_speech, fs, sample.length)
    if sample.highpass_hz > 0:
        speech = highpass(speech, fs, sample.highpass_hz)
    clean = noisy = speech
    if sample.rir_uid != "none":
        rir = _read(sources.rir, sample.rir_uid, cached_rir, fs)
        noisy, clean = Reverberation(sample.early_ms).apply(speech, fs, rir)
    try:
        distortions = parse_distortions(sample.augmentation)
        noise_kind = AdditiveNoise(sample.snr_dB)
    except ValueError as error:
        raise BadSource("-", error) from error
    winds = [distortion for distortion in distortions if isinstance(distortion, WindNoise)]
    table = sources.wind if winds else sources.noise
    noise = _read(table, sample.noise_uid, read_segment, fs, sample.length, rng)
    noise = noise_kind.scaled(noisy, fs, noise)
    noisy = winds[0].apply(noisy, fs, noise) if winds else noisy + noise
    for distortion in distortions:
        if not isinstance(distortion, WindNoise):
            noisy = distortion.apply(noisy, fs)
    gain = np.float32(PEAK / max(np.abs(noisy).max(), np.abs(clean).max(), 1e-10))
    try:
        return check_audio(noisy * gain, fs), check_audio(clean * gain, fs)
    except BadAudio as error:
        raise BadSource(sources.speech[sample.speech_uid][1], f"result: {error}") from error


def highpass(speech: np.ndarray, fs: int, corner_hz: float) -> np.ndarray:
    """Zero-phase Butterworth high-pass (order 8 in all) of (T,) at `fs` Hz: (T,) float32."""
    sos = butter(4, corner_hz, "highpass", fs=fs, output="sos")
    return sosfiltfilt(sos, speech).astype(np.float32)


def _read(table: dict[str, tuple[int, str]], uid: str, reader, *args) -> np.ndarray:
    if uid not in table:
        raise BadSource("-", f"{uid!r} is in none of the source lists")
    path = table[uid][1]
    try:
        return reader(path, *args)
    except BadAudio as error:
        raise BadSource(path, error) from error
