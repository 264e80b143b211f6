"""Lossy codecs in memory, through libsndfile: mp3, Ogg Vorbis and Opus."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from espnet_hybridse.audio import fit_length, resample

OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
QSCALES = {"mp3": (0, 9), "vorbis": (-1, 10), "opus": (-1, 10)}
WRITE_BLOCK = 65536


@dataclass(frozen=True)
class Codec:
    """One pass through a lossy codec; libsndfile compensates the delay and keeps the length.

    The cross-correlation's peak lies at 0 at all seven rates; only Opus below about 16 kbit/s,
    where it models the waveform instead of following it, wanders by up to 0.07 ms.

    format, encoder: mp3 (no encoder), or ogg with vorbis or opus
    qscale: mp3: VBR quality, 0 best, 9 worst. vorbis: quality, 10 best, -1 worst (libsndfile
        stops at 0, so -1 acts as 0). opus has no quality scale: our choice is a bit rate of
        8 kbit/s at -1, doubling every 2.75 steps to 128 kbit/s at 10.
    """

    format: str
    encoder: str | None
    qscale: int

    def __post_init__(self):
        if (self.format, self.encoder) not in (("mp3", None), ("ogg", "vorbis"), ("ogg", "opus")):
            raise ValueError(
                f"codec: format={self.format!r} with encoder={self.encoder!r}; accepted: "
                "'mp3' with None, 'ogg' with 'vorbis' or 'opus'"
            )
        low, high = QSCALES[self.name]
        if not low <= self.qscale <= high:
            raise ValueError(
                f"codec: qscale={self.qscale} for {self.name}; accepted: {low} to {high}"
            )

    @property
    def name(self) -> str:
        """mp3, vorbis or opus."""
        return self.encoder or self.format

    def __str__(self) -> str:
        return f"codec(format={self.format},encoder={self.encoder},qscale={self.qscale})"

    def apply(
        self, speech: np.ndarray, fs: int, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Encode and decode (T,) at `fs` Hz: (T,) float32, aligned; `rng` plays no part."""
        # The encoders' thresholds assume signals near full scale, and integer ones clip above it.
        peak = max(float(np.abs(speech).max()), 1e-10) / 0.9
        codec_fs = fs
        if self.name == "opus":
            codec_fs = next(rate for rate in OPUS_RATES if rate >= min(fs, OPUS_RATES[-1]))
        coded = _round_trip(resample(speech / peak, fs, codec_fs), codec_fs, self)
        return fit_length(resample(coded, codec_fs, fs) * np.float32(peak), speech.size)


def _compression_level(codec: Codec) -> float:
    """libsndfile's scale, 0 best to 1 worst, for each codec's own quality."""
    if codec.name == "mp3":
        return codec.qscale / 10
    if codec.name == "vorbis":
        return 1 - max(codec.qscale, 0) / 10
    # libsndfile maps the level linearly to 256..6 kbit/s for one channel.
    kbps = 8 * 2 ** ((codec.qscale + 1) / 2.75)
    return (256 - kbps) / 250


def _round_trip(wav: np.ndarray, fs: int, codec: Codec) -> np.ndarray:
    """Encode (T,) into memory and decode it again: (T,) float32."""
    subtype = {"mp3": "MPEG_LAYER_III", "vorbis": "VORBIS", "opus": "OPUS"}[codec.name]
    options = {"bitrate_mode": "VARIABLE"} if codec.name == "mp3" else {}
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer,
        "w",
        samplerate=fs,
        channels=1,
        format=codec.format.upper(),
        subtype=subtype,
        compression_level=_compression_level(codec),
        **options,
    ) as encoder:
        # libsndfile's vorbis encoder overflows the stack when minutes arrive in one block.
        for start in range(0, wav.size, WRITE_BLOCK):
            encoder.write(wav[start : start + WRITE_BLOCK])
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0]
