"""Cheap measures of a recording, from one reading: noise, voice, band, clipping, gaps, decay.

They say how much there is to enhance (:mod:`espnet_hybridse.inference.gate`) and are written into
the record of a file. All of them are our own and simple on purpose: two transforms a frame, kept as
histograms, so that memory does not grow with the length.
"""

from dataclasses import asdict, dataclass

import numpy as np

from espnet_hybridse.inference.frames import HOP_S
from espnet_hybridse.inference.voice import VOICED, Voice

BANDS = 20
BAND_HZ = (100.0, 12000.0)
FLATNESS_HZ = (100.0, 7000.0)
WITHIN_DB = 60.0
"""Bands count whose loud frames lie less than this below those of the loudest band."""
LEVELS = np.arange(-180, 62)
"""Edges in dB of the histograms of levels."""
HEARD_DB = -115.0
"""Frames below are digital silence and say nothing about noise."""
ACTIVE_DB = 20.0
"""Frames that lie less than this below the loud ones are active."""
SPEECH_DB = 35.0
"""Frames near voiced ones that lie less than this below the loud ones hold speech."""
NEAR = 10
"""Frames within which one is near a voiced one."""
DECAY_FRAMES = 5
GAP_S = (0.004, 0.3)
"""Lengths of digital silence that a lost packet leaves; longer ones are pauses."""
BEFORE_S = 0.005
STOPS_DB = 25.0
"""Speech stops in a gap when what comes right before lies less than this below the loud frames."""
FLAT = 0.999
"""Share of the peak that all samples of a flat top reach."""
EDGE_DB = 60.0
"""The band ends where the mean spectrum falls this far below its top."""
CANCELLED = 0.1
"""Below this share of the channels' mean power, their average has cancelled itself."""
ALL = -1
FEWEST = 25
"""Frames that are heard, below which nothing is measured."""


@dataclass(frozen=True)
class Measures:
    """What one reading tells; levels in dB, shares from 0 to 1.

    Attributes:
        level_db: of the loud frames (95th percentile), re full scale.
        floor_db: of the quiet ones (10th), digital silence left out.
        snr_db: of the loud to the quiet quarter, mean of the bands that hold the speech.
        worst_snr_db: mean of the three bands where it is worst.
        pause_db: the same as `snr_db` to the quiet tenth.
        middle_db: to the median.
        voiced: share of voiced frames among the active ones.
        periodicity: median of the active frames.
        active: share of frames that are active.
        quiet: share that lies 40 dB or more below the loud ones.
        sparseness: ln(mean |x|) - mean(ln |x|): 0.6 of noise, above 1 of speech.
        motion_db: mean change of level from frame to frame.
        flatness: ln of geometric to arithmetic mean of active spectra, 0 of white noise.
        decay_db_s: how fast the level falls after loud frames, 10th percentile.
        gaps: stretches of digital silence a second in which speech stops all at once.
        flat_share: share of samples in flat tops at the peak.
        top_share: share of the samples above 0.7 of the peak that lie above 0.9 of it.
        band_edge_hz: highest frequency with speech in it.
        speech_s: seconds with speech.
    """

    level_db: float
    floor_db: float
    snr_db: float
    worst_snr_db: float
    pause_db: float
    middle_db: float
    voiced: float
    periodicity: float
    active: float
    quiet: float
    sparseness: float
    motion_db: float
    flatness: float
    decay_db_s: float
    gaps: float
    flat_share: float
    top_share: float
    band_edge_hz: float
    speech_s: float

    def as_dict(self) -> dict[str, float]:
        """Rounded to four digits, for the record."""
        return {name: float(f"{value:.4g}") for name, value in asdict(self).items()}


class OneChannel:
    """One channel for many, block by block: (C, n) -> (n,)."""

    def __init__(self):
        self._channel: int | None = None

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """The channels' average; where they cancel out, that one which was loudest first."""
        average = block.mean(0)
        if self._channel is None and block.any():
            powers = np.square(block).mean(1)
            cancelled = np.square(average).mean() < CANCELLED * powers.mean()
            self._channel = int(powers.argmax()) if cancelled else ALL
        return average if self._channel in (None, ALL) else block[self._channel]


class Gauge:
    """Takes a recording block by block.

    Args:
        fs: rate in Hz.

    Attributes:
        samples: of each channel, so far.
        peak: largest magnitude so far.
    """

    def __init__(self, fs: int):
        self.fs, self.samples, self.peak = fs, 0, 0.0
        self._voice = Voice(fs)
        self.hop, self._hz = self._voice.hop, self._voice.hz
        edges = np.geomspace(BAND_HZ[0], min(BAND_HZ[1], 0.475 * fs), BANDS + 1)
        band = np.searchsorted(edges, self._hz) - 1
        self._bands = [np.flatnonzero(band == b) for b in range(BANDS) if (band == b).any()]
        flat = (self._hz > FLATNESS_HZ[0]) & (self._hz < min(FLATNESS_HZ[1], 0.45 * fs))
        self._flat = flat
        self._scale: float | None = None
        self._one_channel = OneChannel()
        self._rest = np.zeros(0)
        self._frames = 0
        bins = LEVELS.size - 1
        self._by_level = np.zeros(bins, np.int64)
        self._by_band = np.zeros((len(self._bands), bins), np.int64)
        self._by_period = np.zeros((bins, 20), np.int64)
        self._near_voice = np.zeros(bins, np.int64)
        self._flatness = np.zeros((bins, 2))
        self._falls = np.zeros((bins, 81), np.int64)
        self._spectrum = np.zeros(self._hz.size)
        self._levels = np.zeros(0)
        self._periods = np.zeros(0)
        self._moved = np.zeros(2)
        self._logs = np.zeros(3)
        self._gaps = np.zeros(bins, np.int64)
        self._tops = np.zeros((bins, 4), np.int64)

    def add(self, block: np.ndarray) -> None:
        """Hear a block (C, n) of finite samples."""
        self.samples += block.shape[1]
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
        wav = self._one_channel(block.astype(np.float64))
        if self._scale is None:
            # Levels of absurd files would lie beyond the histograms.
            self._scale = max(self.peak, 1.0) if self.peak > 4.0 else 1.0
        self._rest = np.concatenate([self._rest, wav / self._scale])
        if self._rest.size > self.fs:  # many frames at once cost less
            self._measure()

    def _measure(self) -> None:
        """Measure the whole frames of what waits."""
        wav = self._rest
        if wav.size < self._voice.size:
            return
        frames = self._voice.frames(wav)
        count = len(frames)
        for first in range(0, count, 500):
            self._add_frames(frames[first : first + 500])
        self._add_samples(wav[: count * self.hop] - wav.mean())
        self._rest = wav[count * self.hop :]

    def _add_frames(self, frames: np.ndarray) -> None:
        power = self._voice.power(frames)
        level = _db(power.sum(1))
        rows = _bin(level)
        np.add.at(self._by_level, rows, 1)
        heard = power[level > HEARD_DB]
        for band, bins in enumerate(self._bands):
            np.add.at(self._by_band[band], _bin(_db(heard[:, bins].sum(1))), 1)
        period = self._voice.periodicity(power)
        np.add.at(self._by_period, (rows, (20 * period).astype(int)), 1)
        logs = np.log(power[:, self._flat] + 1e-18)
        flatness = logs.mean(1) - np.log(power[:, self._flat].mean(1) + 1e-18)
        np.add.at(self._flatness, rows, np.stack([flatness, np.ones_like(flatness)], 1))
        self._spectrum += power.sum(0)
        self._add_course(level, period)
        self._frames += len(frames)

    def _add_course(self, level: np.ndarray, period: np.ndarray) -> None:
        """What the order of frames tells: motion, decay, and which frames are near voiced ones."""
        level = np.concatenate([self._levels, level])
        fresh = level.size - self._levels.size
        heard = (level[1:] > HEARD_DB) & (level[:-1] > HEARD_DB)
        moves = np.abs(np.diff(level))[-fresh:][heard[-fresh:]]
        self._moved += moves.sum(), moves.size
        if level.size > DECAY_FRAMES:
            before = level[:-DECAY_FRAMES][-fresh:]
            fall = (before - level[DECAY_FRAMES:][-fresh:]).clip(0, 80)
            np.add.at(self._falls, (_bin(before), fall.astype(int)), 1)
        self._levels = level[-DECAY_FRAMES:]
        period = np.concatenate([self._periods, period])
        voiced = (period > VOICED).astype(float)
        near = np.convolve(voiced, np.ones(2 * NEAR + 1))[NEAR : NEAR + period.size] > 0
        # Frames whose neighbours are not all there wait for the next block; the last ones are few.
        near = near[-fresh:] if near.size >= fresh else near
        np.add.at(self._near_voice, _bin(level[-near.size :])[near], 1)
        self._periods = period[-NEAR:]

    def _add_samples(self, wav: np.ndarray) -> None:
        """Gaps and flat tops, which only samples show; the mean of their logarithms."""
        some = np.abs(wav[:: max(self.fs // 16000, 1)])
        some = some[some > 1e-7]
        self._logs += some.sum(), np.log(some).sum(), some.size
        parts = np.abs(wav[: wav.size // self.hop * self.hop].reshape(-1, self.hop))
        peaks = parts.max(1, keepdims=True)
        flat = parts >= FLAT * peaks
        runs = (flat[:, 2:] & flat[:, 1:-1] & flat[:, :-2]).sum(1)
        tops = [runs, (parts > 0.7 * peaks).sum(1), (parts > 0.9 * peaks).sum(1)]
        tops.append(np.full(len(parts), self.hop))
        np.add.at(self._tops, _bin(_db(np.square(peaks[:, 0]))), np.stack(tops, 1))
        still = np.diff(wav, prepend=wav[:1]) == 0
        edges = np.flatnonzero(np.diff(still.astype(np.int8), prepend=0, append=0))
        before = round(BEFORE_S * self.fs)
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if GAP_S[0] < (stop - start) / self.fs < GAP_S[1] and start > before:
                part = wav[start - before : start - 1]
                self._gaps[_bin(_db(np.square(part).mean()))] += 1

    def result(self) -> Measures | None:
        """The measures so far; None where less than half a second was heard."""
        self._measure()
        heard = LEVELS[:-1] > HEARD_DB
        if (self._by_level * heard).sum() < FEWEST:
            return None
        loud = _percentile(self._by_level * heard, 95)
        active = LEVELS[:-1] > loud - ACTIVE_DB
        total = (self._by_level * heard).sum()
        high = np.array([_percentile(band, 95) for band in self._by_band])
        strong = high > high.max() - WITHIN_DB
        to = {
            share: (high - [_percentile(band, share) for band in self._by_band])[strong]
            for share in (10, 25, 50)
        }
        periods = self._by_period[active].sum(0)
        flat, frames = self._flatness[active].sum(0)
        falls = self._falls[LEVELS[:-1] > loud - 15].sum(0)
        tops = self._tops[LEVELS[:-1] > _last(self._tops[:, 3]) - 1.5].sum(0)
        mean, logs, count = self._logs
        mean_db = _db(self._spectrum / max(self._frames, 1))
        smooth = np.convolve(mean_db, np.ones(5) / 5, "same")
        offset = 20 * np.log10(self._scale or 1.0)
        return Measures(
            level_db=float(loud + offset),
            floor_db=float(_percentile(self._by_level * heard, 10) + offset),
            snr_db=float(to[25].mean()),
            worst_snr_db=float(np.sort(to[25])[:3].mean()),
            pause_db=float(to[10].mean()),
            middle_db=float(to[50].mean()),
            voiced=float(periods[int(20 * VOICED) :].sum() / max(periods.sum(), 1)),
            periodicity=float((_percentile(periods, 50, np.arange(20)) + 0.5) / 20),
            active=float(self._by_level[active].sum() / total),
            quiet=float((self._by_level * heard)[LEVELS[:-1] <= loud - 40].sum() / total),
            sparseness=float(np.log(mean / max(count, 1) + 1e-30) - logs / max(count, 1)),
            motion_db=float(self._moved[0] / max(self._moved[1], 1)),
            flatness=float(flat / max(frames, 1)),
            decay_db_s=float(_percentile(falls, 90, np.arange(81)) / (DECAY_FRAMES * HOP_S)),
            gaps=float(self._gaps[LEVELS[:-1] > loud - STOPS_DB].sum() / self.seconds),
            flat_share=float(tops[0] / max(tops[3], 1)),
            top_share=float(tops[2] / max(tops[1], 1)),
            band_edge_hz=float(self._hz[np.flatnonzero(smooth > smooth.max() - EDGE_DB)[-1]]),
            speech_s=self.speech_s(loud),
        )

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self.samples / self.fs

    def speech_s(self, loud: float) -> float:
        """Seconds with speech, given the level of the loud frames."""
        speech = self._near_voice[LEVELS[:-1] > loud - SPEECH_DB].sum()
        return float(min(speech * self.hop / self.fs, self.seconds))


def _db(power):
    return 10 * np.log10(power + 1e-18)


def _bin(level):
    return np.clip(np.floor(level).astype(int) - LEVELS[0], 0, LEVELS.size - 2)


def _percentile(counts: np.ndarray, share: float, values: np.ndarray = LEVELS[:-1]) -> float:
    """Of a histogram."""
    total = np.cumsum(counts)
    if not total[-1]:
        return float(values[0])
    return float(values[np.searchsorted(total, share / 100 * total[-1])])


def _last(counts: np.ndarray) -> float:
    """Level of the loudest frame."""
    found = np.flatnonzero(counts)
    return float(LEVELS[found[-1]]) if found.size else float(LEVELS[0])
