"""Lossy codecs in memory: mp3 and Opus through PyAV's encoders, Ogg Vorbis through libsndfile."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from espnet_hybridse.fileio.audio import fit_length, resample

OPUS_RATES = (16000, 24000, 48000)
"""Those of its rates that never force it into its narrow band, one of whose samples is lost."""
NARROW_BAND_DELAY = 6
"""That one, of 8 kHz, in Opus' output at 48 kHz: its decoder does not take it out."""
QSCALES = {"mp3": (0, 9), "vorbis": (-1, 10), "opus": (-1, 10)}
WRITE_BLOCK = 65536


@dataclass(frozen=True)
class Codec:
    """One pass through a lossy codec whose delay is taken out again; the length stays.

    The cross-correlation's peak lies at 0 at all seven rates and qualities.

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
        """Encode and decode (T,) at `fs` Hz: (T,) float32, aligned; `rng` plays no part.

        Raises:
            ValueError: the encoder or decoder gave up.
        """
        # The encoders' thresholds assume signals near full scale, and integer ones clip above it.
        peak = max(float(np.abs(speech).max()), 1e-10) / 0.9
        codec_fs = fs
        if self.name == "opus":
            codec_fs = next(rate for rate in OPUS_RATES if rate >= fs)
        whole = resample(speech / peak, fs, codec_fs)
        coded, coded_fs = VIA[self.name](whole, codec_fs, self.qscale)
        return fit_length(resample(coded, coded_fs, fs) * np.float32(peak), speech.size)


def _mp3(wav: np.ndarray, fs: int, qscale: int) -> tuple[np.ndarray, int]:
    # libav counts qualities in 118ths.
    quality = {"flags": "+qscale", "global_quality": str(118 * qscale)}
    return _libav(wav, fs, "mp3", "libmp3lame", options=quality)


def _opus(wav: np.ndarray, fs: int, qscale: int) -> tuple[np.ndarray, int]:
    bits = round(8000 * 2 ** ((qscale + 1) / 2.75))
    coded, coded_fs = _libav(wav, fs, "ogg", "libopus", bit_rate=bits)
    # Below 9 kbit/s, which is -1 alone, it always takes its narrow band.
    return coded[NARROW_BAND_DELAY if qscale < 0 else 0 :], coded_fs


def _libav(
    wav: np.ndarray, fs: int, container: str, encoder: str, **options
) -> tuple[np.ndarray, int]:
    """Encode (T,) into memory and decode it again: (T',) float32 and its rate."""
    import av  # here: training and enhancement do without

    buffer = io.BytesIO()
    frame = av.AudioFrame.from_ndarray(wav[None].astype(np.float32), format="flt", layout="mono")
    frame.sample_rate, frame.pts = fs, 0
    try:
        with av.open(buffer, "w", format=container) as writer:
            stream = writer.add_stream(encoder, rate=fs, layout="mono", **options)
            writer.mux(stream.encode(frame))
            writer.mux(stream.encode(None))
        buffer.seek(0)
        # Named, not guessed: of a few hundred bytes the guess is sometimes wrong.
        with av.open(buffer, format=container) as reader:
            parts = [frame.to_ndarray().reshape(-1) for frame in reader.decode(audio=0)]
            return np.concatenate(parts), reader.streams.audio[0].rate
    except av.error.FFmpegError as error:  # of several types; the caller expects this one
        raise ValueError(f"codec: {encoder} at {fs} Hz, {wav.size} samples: {error}") from error


def _vorbis(wav: np.ndarray, fs: int, qscale: int) -> tuple[np.ndarray, int]:
    # PyAV comes without libvorbis, whose quality of 10 is libsndfile's level of 0.
    level, buffer = 1 - max(qscale, 0) / 10, io.BytesIO()
    vorbis = {"format": "OGG", "subtype": "VORBIS", "compression_level": level}
    with soundfile.SoundFile(buffer, "w", samplerate=fs, channels=1, **vorbis) as encoder:
        # libsndfile's vorbis encoder overflows the stack when minutes arrive in one block.
        for start in range(0, wav.size, WRITE_BLOCK):
            encoder.write(wav[start : start + WRITE_BLOCK])
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")


VIA = {"mp3": _mp3, "vorbis": _vorbis, "opus": _opus}
