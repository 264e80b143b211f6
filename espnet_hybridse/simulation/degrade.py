"""Step two of the simulation for one sample: from its parameters to noisy and clean waveforms."""

import numpy as np
from scipy.signal import butter, sosfiltfilt

from espnet_hybridse.fileio.audio import BadAudio, check_audio, check_rate, fit_length, resample
from espnet_hybridse.simulation.cache import AudioCache, process_cache
from espnet_hybridse.simulation.distortions.grammar import parse_distortions
from espnet_hybridse.simulation.distortions.noise import AdditiveNoise, active_power
from espnet_hybridse.simulation.distortions.reverberation import Reverberation
from espnet_hybridse.simulation.distortions.wind import WindNoise
from espnet_hybridse.simulation.draw import Drawn
from espnet_hybridse.simulation.meta import CLEAN_SNR_DB, NOISE_ONLY_SNR_DB, Sample
from espnet_hybridse.simulation.sources import Sources, read_rir, read_segment, read_speech

PEAK = 0.9
"""Peak of the louder of noisy and clean (the challenge looks at the noise by itself too)."""


class BadSource(BadAudio):
    """A source that cannot be used, with its path."""

    def __init__(self, path: str, reason: object):
        super().__init__(str(reason))
        self.path = path


def simulate(sample: Sample, sources: Sources) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy and clean, both (length,) float32 at sample.fs, under one gain.

    Raises:
        BadSource: a source is unreadable, silent, too short, multichannel or with NaN; or the
            parameters name a rate, a source or a distortion that is not known.
    """
    cache = process_cache()
    try:
        fs = check_rate(sample.fs)
        distortions = parse_distortions(sample.augmentation)
        path = _path((sources.speech,), sample.speech_uid)
        speech = read_speech(path, fs, round(sample.length * sample.speed), cache)
        speech = change_speed(speech, sample.speed, sample.length)
    except BadSource:
        raise
    except BadAudio as error:
        raise BadSource(path, error) from error
    except ValueError as error:
        raise BadSource("-", error) from error
    drawn = Drawn(
        sample.noise_uid,
        sample.snr_dB,
        sample.rir_uid,
        distortions,
        sample.level_db,
        sample.wind_mix_gain,
    )
    rng = np.random.default_rng(sample.seed)
    try:
        speech = highpass(speech, fs, sample.highpass_hz)
        return degrade(speech, fs, drawn, sample.early_ms, sources, rng, cache)
    except BadSource:
        raise
    except ValueError as error:
        raise BadSource(path, f"result: {error}") from error


def degrade(
    speech: np.ndarray,
    fs: int,
    drawn: Drawn,
    early_ms: float,
    sources: Sources,
    rng: np.random.Generator,
    cache: AudioCache,
) -> tuple[np.ndarray, np.ndarray]:
    """Degrade speech (T,) at `fs` Hz: noisy and clean, both (T,) float32, under one gain.

    Order: room, noise or wind, then the further distortions as they are listed. Noise that is
    CLEAN_SNR_DB below the speech is left out; speech that is as far below noise too, and the target
    is silence.

    Args:
        early_ms: what the target keeps of the room after the direct path.

    Raises:
        BadSource: a source cannot be used, or is in no list.
        BadAudio: the result is silent or not finite.
    """
    clean = noisy = speech
    if drawn.rir_uid != "none":
        path = _path((sources.rir,), drawn.rir_uid)
        room = _make(path, lambda: Reverberation(read_rir(path, fs, cache), early_ms))
        noisy, clean = room.apply(speech, fs), room.target(speech, fs)
    if drawn.snr_db == NOISE_ONLY_SNR_DB:
        path = _path((sources.noise, sources.wind), drawn.noise_uid)
        noise = _make(path, lambda: read_segment(path, fs, speech.size, rng, cache))
        noisy = noise * _gain(noise, noise, fs, drawn.level_db)
        return check_audio(noisy, fs), np.zeros_like(noisy)
    if drawn.snr_db == CLEAN_SNR_DB:
        return _finished(noisy, clean, fs, drawn.level_db)
    winds = [distortion for distortion in drawn.distortions if isinstance(distortion, WindNoise)]
    others = [distortion for distortion in drawn.distortions if distortion not in winds]
    tables = (sources.wind, sources.noise) if winds else (sources.noise, sources.wind)
    path = _path(tables, drawn.noise_uid)
    recording = _make(path, lambda: read_segment(path, fs, speech.size, rng, cache))
    if winds:
        noise = winds[0].mixed_with(recording, drawn.snr_db, drawn.wind_mix_gain)
    else:
        noise = AdditiveNoise(drawn.snr_db, recording)
    for distortion in (noise, *others):
        noisy = distortion.apply(noisy, fs, rng)
    return _finished(noisy, clean, fs, drawn.level_db)


def _finished(
    noisy: np.ndarray, clean: np.ndarray, fs: int, level_db: float
) -> tuple[np.ndarray, np.ndarray]:
    """Both under the gain that their level and peaks ask for, checked."""
    gain = _gain(noisy, clean, fs, level_db)
    return check_audio(noisy * gain, fs), check_audio(clean * gain, fs)


def _gain(noisy: np.ndarray, target: np.ndarray, fs: int, level_db: float) -> np.float32:
    """The gain that brings the target's active parts to `level_db`, but no peak above PEAK."""
    gain = PEAK / max(np.abs(noisy).max(), np.abs(target).max(), 1e-10)
    if level_db < 0:
        rms = np.sqrt(max(active_power(target, fs), 1e-20))
        gain = min(gain, 10 ** (level_db / 20) / rms)
    return np.float32(gain)


def change_speed(speech: np.ndarray, speed: float, length: int) -> np.ndarray:
    """Play (T,) at `speed` times its speed, pitch and formants with it: (length,) float32.

    Slower speech ends lower in frequency than its rate: `compressed` asks for nothing above.
    """
    if speed == 1.0:
        return speech
    return fit_length(resample(speech, round(100 * speed), 100), length)


def highpass(speech: np.ndarray, fs: int, corner_hz: float) -> np.ndarray:
    """Zero-phase Butterworth high-pass (order 8 in all) of (T,) at `fs` Hz, float32; 0: none."""
    if corner_hz <= 0:
        return speech
    sos = butter(4, corner_hz, "highpass", fs=fs, output="sos")
    return sosfiltfilt(sos, speech).astype(np.float32)


def _path(tables: tuple[dict[str, tuple[int, str]], ...], uid: str) -> str:
    for table in tables:
        if uid in table:
            return table[uid][1]
    raise BadSource("-", f"{uid!r} is in none of the source lists")


def _make(path: str, make):
    """What `make` gives; its complaint becomes one about `path`."""
    try:
        return make()
    except ValueError as error:
        raise BadSource(path, error) from error
