"""Speech brought to one level before the network, and back after it.

Networks see each piece of a long recording at the level of its loudest part: quiet speech beside
loud speech then counts as background. Levels are followed here, and only while somebody speaks:
what lies between keeps the gain of the speech before it, so that noise is not lifted. Our choice.
"""

import numpy as np

from espnet_hybridse.inference.frames import HOP_S, frames_of, smooth
from espnet_hybridse.inference.voice import VOICED, Voice

REACH_S = 1.0
"""Speech of one level lasts at least that long."""
STEP_DB = 8.0
"""The level steps where the loudest frames before and behind are this far apart."""
SAME_DB = 3.0
"""Levels nearer than this are one."""
LOUD = 95
"""Percentile of the frames that stands for the level of speech."""
SPEAKING_SHARE = 0.3
"""Of the frames between two steps, from which on they are speech."""
VOICED_SHARE = 0.15
"""Of the frames within reach, from which on somebody speaks."""
OWN_SHARE = 0.05
"""Of the frames between two steps: a pause is near speech, but has none of its own."""
TARGET_DB = -18.0
"""Level of the loudest frames within reach; that of the recordings that networks are trained on."""
SMOOTH_S = 0.1
VOICE_SHARE = 0.3
"""Of a voiced frame's power, in the band of voices."""


class Leveller:
    """Gains for the pieces of one recording, in order.

    Attributes:
        level_db: of the speech heard last; None before any.
    """

    def __init__(self) -> None:
        self.level_db: float | None = None

    def gains(self, piece: np.ndarray, fs: int) -> np.ndarray:
        """Gain for each sample of a piece (C, T), the same for all channels, (T,) float32.

        The gain is positive and finite also of silence and of absurdly large samples.
        """
        voice = Voice(fs)
        hop = voice.hop
        wav = piece.astype(np.float64)
        wav = wav - wav.mean(1, keepdims=True)
        count = max(wav.shape[1] // hop, 1)
        frames = np.pad(wav, ((0, 0), (0, max(hop - wav.shape[1], 0))))[:, : count * hop]
        level = 10 * np.log10(np.square(frames.reshape(len(wav), count, hop)).mean((0, 2)) + 1e-20)
        loudest = wav[np.square(wav).mean(1).argmax()]
        voiced = _voiced(loudest, voice, count)
        followed = self._follow(level, voiced)
        if np.ptp(followed) == 0.0:  # nearly always: one speaker, one distance
            return np.full(wav.shape[1], 10 ** ((TARGET_DB - followed[0]) / 20))
        gain_db = TARGET_DB - smooth(followed, frames_of(SMOOTH_S))
        places = (np.arange(count) + 0.5) * hop
        gain_db = np.interp(np.arange(wav.shape[1]), places, gain_db)
        return 10 ** (gain_db / 20)

    def _follow(self, level: np.ndarray, voiced: np.ndarray) -> np.ndarray:
        """Level of the speech at each frame, held where nobody speaks."""
        followed, speaking = np.empty(level.size), _speaking(voiced)
        bounds = [0, *_steps(level), level.size]
        parts = list(zip(bounds, bounds[1:], strict=False))
        levels = [float(np.percentile(level[start:stop], LOUD)) for start, stop in parts]
        spoken = [
            speaking[start:stop].mean() > SPEAKING_SHARE and voiced[start:stop].mean() > OWN_SHARE
            for start, stop in parts
        ]
        lasting = [
            stop - start >= REACH_S / HOP_S and voiced[start:stop].mean() > VOICED_SHARE
            for start, stop in parts
        ]
        if self.level_db is None:
            # Before anybody has spoken the gain is that of the first who does.
            first = [*np.flatnonzero(lasting), *np.flatnonzero(spoken)]
            self.level_db = levels[first[0]] if first else None
        for number, (start, stop) in enumerate(parts):
            change = levels[number] - (levels[number] if self.level_db is None else self.level_db)
            # What is quieter may be a breath or a pause: it has to last to be speech.
            if (change > SAME_DB and spoken[number]) or (change < -SAME_DB and lasting[number]):
                self.level_db = levels[number]
            followed[start:stop] = self.level_db if self.level_db is not None else np.nan
        if self.level_db is None:
            followed[:] = np.percentile(level, LOUD)
        return followed


def _voiced(wav: np.ndarray, voice: Voice, count: int) -> np.ndarray:
    """Voiced frames of (T,), (count,) bool."""
    padded = np.pad(wav, (voice.hop // 2, voice.size))
    power = voice.power(voice.frames(padded)[:count])
    # Of the whole frame's power: a hum below noise is no voice.
    share = power[:, voice.within].sum(1) / np.maximum(power.sum(1), 1e-30)
    return (voice.periodicity(power) > VOICED) & (share > VOICE_SHARE)


def _speaking(voiced: np.ndarray) -> np.ndarray:
    """Frames with enough voiced ones around them, (count,) bool."""
    reach = frames_of(REACH_S)
    kernel = np.ones(2 * reach + 1)
    near = np.convolve(voiced.astype(float), kernel)[reach : reach + voiced.size]
    around = np.convolve(np.ones(voiced.size), kernel)[reach : reach + voiced.size]
    return near > VOICED_SHARE * around


def _steps(level: np.ndarray) -> list[int]:
    """Frames at which the level changes: where what comes is far from what was."""
    reach = frames_of(REACH_S)
    padded = np.concatenate([np.full(reach, level[0]), level, np.full(reach, level[-1])])
    highest = np.lib.stride_tricks.sliding_window_view(padded, reach).max(1)
    change = np.abs(highest[reach : reach + level.size] - highest[: level.size])
    found = []
    for frame in np.argsort(-change, kind="stable"):
        if change[frame] < STEP_DB:
            break
        apart = all(abs(frame - other) > reach // 2 for other in (0, level.size, *found))
        if apart:
            found.append(int(frame))
    return sorted(found)
