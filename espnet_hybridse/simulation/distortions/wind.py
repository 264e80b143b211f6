"""Wind noise: a generator, the side-chain compressor, and the mixing with speech."""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter

from espnet_hybridse.simulation.distortions.noise import fit_noise, scale_noise

CORNER_HZ = 60.0
GUST_RATE_HZ = 4.0


def generate_wind(seconds: float, fs: int, rng: np.random.Generator) -> np.ndarray:
    """Synthesise wind at a microphone: (T,) float32, T = round(seconds * fs), peak 0.5.

    Our choice: Gaussian noise shaped like turbulence, flat to about 60 Hz and falling as f^-1.7
    (power f^-10/3) above it, plus a wider hiss that only strong gusts bring; both follow a
    log-normal gust curve that changes within 0.25 to several seconds.

    Raises:
        ValueError: `seconds` gives no sample.
    """
    length = int(round(seconds * fs))
    if length < 1:
        raise ValueError(f"seconds={seconds} at {fs} Hz gives no sample; ask for a longer wind")
    gusts = _gust_curve(length, fs, rng)
    rumble = _shaped_noise(length, fs, CORNER_HZ * rng.uniform(0.6, 1.6), 1.7, rng)
    hiss = _shaped_noise(length, fs, 8 * CORNER_HZ, 1.2, rng)
    wind = rumble * gusts + rng.uniform(0.02, 0.12) * hiss * gusts**2
    return (0.5 * wind / np.abs(wind).max()).astype(np.float32)


def _shaped_noise(
    length: int, fs: int, corner: float, slope: float, rng: np.random.Generator
) -> np.ndarray:
    """Gaussian noise (T,) of unit variance with amplitude (1 + (f / corner)^2)^(-slope / 2)."""
    n_fft = 1 << (length - 1).bit_length()
    bins = n_fft // 2 + 1
    spectrum = rng.standard_normal(bins) + 1j * rng.standard_normal(bins)
    freqs = np.arange(bins) * (fs / n_fft)
    spectrum *= (1.0 + (freqs / corner) ** 2) ** (-slope / 2)
    # A microphone's capsule passes nothing below the audible range, DC included.
    spectrum *= freqs**2 / (freqs**2 + 10.0**2)
    noise = np.fft.irfft(spectrum, n_fft)[:length]
    return noise / max(noise.std(), 1e-12)


def _gust_curve(length: int, fs: int, rng: np.random.Generator) -> np.ndarray:
    """Slowly varying positive gain (T,): log-normal at a few Hz, interpolated to `fs`."""
    steps = int(np.ceil(length / fs * GUST_RATE_HZ)) + 4
    slow = lfilter([0.45], [1.0, -0.9], rng.standard_normal(steps + 40))[40:]
    fast = rng.standard_normal(steps)
    log_gain = 0.8 * slow + 0.25 * fast
    times = np.arange(length) * (GUST_RATE_HZ / fs)
    gain = np.interp(times, np.arange(steps), np.exp(np.clip(log_gain, -3.0, 2.0)))
    # Rounds the corners that linear interpolation leaves at the control points.
    return uniform_filter1d(gain, max(int(0.1 * fs), 1), mode="nearest")


@dataclass(frozen=True)
class WindNoise:
    """Wind added to speech that it pushes down through a side-chain compressor, then clipped.

    threshold: side-chain level above which speech is turned down, 0..1 of full scale
    ratio: compression ratio, at least 1
    attack, release: time constants in ms
    sc_gain: gain of the wind in the side chain
    clipping, clipping_threshold: clip the mixture at this share of its own extrema
    snr_db, wind: active speech above active wind before the compressor, and a recording (N,) at
        the speech's rate; mix_gain: of the mixture; `mixed_with` sets them
    """

    threshold: float
    ratio: float
    attack: float
    release: float
    sc_gain: float
    clipping: bool
    clipping_threshold: float
    snr_db: float = field(default=0.0, compare=False)
    wind: np.ndarray | None = field(default=None, compare=False, repr=False)
    mix_gain: float = field(default=1.0, compare=False)

    def __post_init__(self):
        if not (0 < self.threshold <= 1 and self.ratio >= 1):
            raise ValueError(
                f"wind_noise: threshold={self.threshold}, ratio={self.ratio}; "
                "accepted: 0 < threshold <= 1 and ratio >= 1"
            )
        if min(self.attack, self.release, self.sc_gain) <= 0:
            raise ValueError(
                f"wind_noise: attack={self.attack} ms, release={self.release} ms, "
                f"sc_gain={self.sc_gain}; all must be positive"
            )
        if not 0 < self.clipping_threshold <= 1:
            raise ValueError(
                f"wind_noise: clipping_threshold={self.clipping_threshold}; accepted: 0 to 1"
            )
        if not -60 <= self.snr_db <= 100:
            raise ValueError(f"wind_noise: snr_db={self.snr_db}; accepted: -60 to 100 dB")

    def __str__(self) -> str:
        return (
            f"wind_noise(threshold={self.threshold},ratio={self.ratio},attack={self.attack},"
            f"release={self.release},sc_gain={self.sc_gain},clipping={self.clipping},"
            f"clipping_threshold={self.clipping_threshold})"
        )

    def mixed_with(self, wind: np.ndarray, snr_db: float, mix_gain: float = 1.0) -> "WindNoise":
        """The same parameters with a recording, its SNR in dB and the mixture's gain."""
        return replace(self, wind=wind, snr_db=snr_db, mix_gain=mix_gain)

    def apply(
        self, speech: np.ndarray, fs: int, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Mix speech (T,) at `fs` Hz and a stretch of the wind: (T,) float32.

        Raises:
            ValueError: there is no recording.
        """
        if self.wind is None:
            raise ValueError("wind_noise: no recording; give one with mixed_with(wind, snr_db)")
        wind = scale_noise(speech, fit_noise(self.wind, speech.size, rng), fs, self.snr_db)
        # The compressor's threshold is absolute, so both signals are brought to full scale first.
        peak = max(np.abs(speech).max(), np.abs(wind).max(), 1e-10) / 0.9
        level = self.sc_gain / peak * _envelope(wind, fs, self.attack, self.release)
        gain = np.minimum(1.0, (np.maximum(level, 1e-10) / self.threshold) ** (1 / self.ratio - 1))
        mix = self.mix_gain * (speech * gain + wind)
        if self.clipping:
            limit = self.clipping_threshold
            mix = np.clip(mix, limit * mix.min(), limit * mix.max())
        return mix.astype(np.float32)


def _envelope(signal: np.ndarray, fs: int, attack_ms: float, release_ms: float) -> np.ndarray:
    """RMS level (T,) of `signal` (T,) that rises with `attack_ms` and falls with `release_ms`.

    The follower changes its constant with the sign of the slope, so no linear filter can do it:
    it runs on blocks of 1 ms, a thousand steps per second of audio, and is interpolated.
    """
    block = max(fs // 1000, 1)
    blocks = -(-signal.size // block)
    squares = np.pad(np.square(signal, dtype=np.float64), (0, blocks * block - signal.size))
    step_ms = 1000.0 * block / fs
    attack, release = 1 - np.exp(-step_ms / attack_ms), 1 - np.exp(-step_ms / release_ms)
    powers = squares.reshape(blocks, block).mean(axis=1).tolist()
    level = powers[0]
    for index, power in enumerate(powers):
        level += (power - level) * (attack if power > level else release)
        powers[index] = level
    centres = (np.arange(blocks) + 0.5) * block
    return np.sqrt(np.interp(np.arange(signal.size), centres, powers))
