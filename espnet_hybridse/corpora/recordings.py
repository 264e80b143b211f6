"""Reading raw recordings of any kind into clean mono clips: decoding, trimming, noise floor."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.audio import RATES, read_audio, resample

NO_TEXT = "<not-available>"
"""What the challenge's `text` files hold where no transcript is known."""

FRAME_SECONDS = 0.02
MARGIN_SECONDS = 0.05


@dataclass(frozen=True)
class Recording:
    """One raw file: who speaks (or which family of sounds it belongs to), in which language."""

    path: Path
    speaker: str
    lang: str = "und"
    text: str = NO_TEXT


def decode(path: Path) -> tuple[np.ndarray, int]:
    """Decode any supported file to (T,) float32 at one of the seven rates.

    Channels are averaged. A rate outside the seven is lowered to the next supported one, so that
    no band above the recording's own is pretended; below 8 kHz it is raised to 8 kHz.

    Raises:
        BadAudio: unreadable, too short, silent, NaN or Inf.
    """
    wav, fs = read_audio(path, "mean")
    target_fs = max((rate for rate in RATES if rate <= fs), default=RATES[0])
    return resample(wav, fs, target_fs), target_fs


def frame_levels_db(wav: np.ndarray, fs: int) -> np.ndarray:
    """Level of every 20 ms frame in dB re full scale, floored at -100: (frames,)."""
    hop = max(int(FRAME_SECONDS * fs), 1)
    count = max(wav.size // hop, 1)
    frames = wav[: count * hop].reshape(count, -1)
    return 10 * np.log10((frames.astype(np.float64) ** 2).mean(axis=1) + 1e-10)


def snr_db(wav: np.ndarray, fs: int) -> float:
    """Rough SNR in dB: loud frames (95th percentile) over the quietest (5th), at most 60 dB.

    Speech needs the silence before and after it for this, so call it before `trim`.
    """
    levels = frame_levels_db(wav, fs)
    return float(min(np.percentile(levels, 95) - np.percentile(levels, 5), 60.0))


def trim(wav: np.ndarray, fs: int, below_peak_db: float = 35.0) -> np.ndarray:
    """Cut leading and trailing frames more than `below_peak_db` under the loudest frame.

    50 ms of margin stay (our choice), for soft onsets, and both ends get a 5 ms fade so that
    joined clips do not click.
    """
    levels = frame_levels_db(wav, fs)
    active = np.flatnonzero(levels > levels.max() - below_peak_db)
    hop, margin = int(FRAME_SECONDS * fs), int(MARGIN_SECONDS * fs)
    start = max(active[0] * hop - margin, 0)
    wav = wav[start : (active[-1] + 1) * hop + margin].copy()
    fade = np.linspace(0.0, 1.0, min(int(0.005 * fs), wav.size // 2), dtype=np.float32)
    wav[: fade.size] *= fade
    wav[wav.size - fade.size :] *= fade[::-1]
    return wav
