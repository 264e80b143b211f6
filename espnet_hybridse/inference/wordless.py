"""Where nobody speaks for seconds: what a detector hears before the network and after it.

A small network makes a murmur of noise, and a detector misses speech far below the noise. Neither
alone is proof; together they are: where speech is, the network's output is full of it, and of noise
alone it makes short bits of murmur at most. Our choice; the limits are of validation recordings, of
which no frame with speech is taken for noise.
"""

from dataclasses import dataclass

import numpy as np

from espnet_hybridse.inference.frames import (
    HOP_S,
    frames_of,
    hop_of,
    least,
    mean,
    power,
    rise,
    taken_db,
)
from espnet_hybridse.inference.speech_detector import FRAME_S, chance_of_speech

REACH_S = 3.0
"""Speech within that far says that somebody speaks."""
LEAST_S = 2.0
"""What must have been heard before anything counts as without words."""
MAYBE = 0.35
"""Largest chance of speech in the input within reach, from which on somebody may speak."""
LIKELY = 0.6
"""Below that the input may still hold no speech, if the output holds hardly any:"""
HARDLY = 0.1
"""at most that share of its frames within reach."""
SPEECH = 0.5
"""Chance from which on a frame of the output counts as speech."""
MURMUR, TALK = 0.2, 0.3
"""Shares of such frames within reach between which it is more than murmur: of 144 noisy utterances
none had less than 0.51, of 141 noises nineteen in twenty less than 0.27."""
WORD_S = 0.25
"""A word in the output fills half a second, this far to both sides,"""
FEW, MOST = 0.5, 0.8
"""by such shares at least,"""
BESIDE_S = 0.5
"""and keeps what lies so far beside it."""
SOME_DB, MOST_DB = 16.0, 20.0
"""Reductions of the mean power within reach between which the network itself says that there was
nothing, whatever it murmurs."""


@dataclass(frozen=True)
class Heard:
    """What a listener knows after a piece.

    Attributes:
        chance: of speech in each frame of 20 ms, those within reach before the piece included.
        count: frames of the piece itself, the last ones.
    """

    chance: np.ndarray
    count: int

    def most(self) -> np.ndarray:
        """Largest chance within reach of the piece's frames, (N,); 1 before enough was heard."""
        if self.chance.size * HOP_S < LEAST_S:
            return np.ones(self.count)
        return self._own(-least(-self.chance, frames_of(REACH_S)))

    def share(self, seconds: float) -> np.ndarray:
        """Share of frames with speech within `seconds` of the piece's frames, (N,)."""
        return self._own(mean((self.chance > SPEECH).astype(float), frames_of(seconds)))

    def _own(self, values: np.ndarray) -> np.ndarray:
        return values[values.size - self.count :]


class Listener:
    """Hears one channel of a recording piece by piece, and computes only what is asked for.

    Args:
        fs: rate in Hz.
    """

    def __init__(self, fs: int):
        self.fs = fs
        self._piece = self._unheard = self._chance = np.zeros(0)

    def hear(self, piece: np.ndarray) -> None:
        """Hear (T,), which follows the piece before."""
        before, reach = np.concatenate([self._unheard, self._piece]), round(REACH_S * self.fs)
        if before.size > reach:
            # Nobody asked about it, and what came earlier is out of reach by now.
            before, self._chance = before[-reach:], np.zeros(0)
        self._unheard, self._piece = before, piece

    def heard(self) -> Heard:
        """Return the chances of the last piece and of what lies within reach before it."""
        wav, hop = np.concatenate([self._unheard, self._piece]), hop_of(self.fs)
        reach = frames_of(REACH_S)
        own, speech = self._piece.size // hop, chance_of_speech(wav, self.fs)
        at = (np.arange(wav.size // hop) + 0.5) * HOP_S / FRAME_S
        at = at.astype(int).clip(max=speech.size - 1)
        chance = np.concatenate([self._chance, speech[at]])[-(own + reach) :]
        self._piece = self._unheard = np.zeros(0)
        self._chance = chance[-reach:]
        return Heard(chance, own)


def wordless(heard: Heard, output: Listener, dry: np.ndarray, wet: np.ndarray) -> np.ndarray:
    """How surely nobody speaks in each frame of a piece, (N,) from 0 to 1.

    Args:
        heard: what was heard of the input.
        output: has heard what the network made of the piece.
        dry, wet: the piece and what the network made of it, (T,).
    """
    most = heard.most()
    if not (most < LIKELY).any():
        return np.zeros(most.size)
    hop, made = hop_of(output.fs), output.heard()
    share, sure = made.share(REACH_S), most < MAYBE
    talk = np.where(sure, rise(share, MURMUR, TALK), rise(share, 0.0, HARDLY))
    word = -least(-rise(made.share(WORD_S), FEW, MOST), frames_of(BESIDE_S))
    taken = taken_db(power(dry, hop), power(wet, hop), frames_of(REACH_S))
    nothing = sure * rise(taken, SOME_DB, MOST_DB)
    return (most < LIKELY) * np.maximum(nothing, (1 - talk) * (1 - word))
