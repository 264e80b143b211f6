"""How much of the enhancement a recording takes: none of it where it is clean already.

An enhancer should leave clean speech alone, but networks change it by some decibels. The decision
is made by cheap measures (:mod:`espnet_hybridse.inference.measures`), which the record of a file
names. Our choice; the paper enhances everything.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from espnet_hybridse.inference.measures import Gauge, Measures

GATES = ("auto", "off")
COEFFICIENTS = Path(__file__).with_name("gate.json")
"""What `python -m benchmarks.fit_gate` learned from simulated recordings."""
CLEAN = (
    "snr_db",
    "worst_snr_db",
    "pause_db",
    "middle_db",
    "voiced",
    "periodicity",
    "active",
    "quiet",
    "sparseness",
    "motion_db",
    "flatness",
    "decay_db_s",
    "gaps",
    "flat_share",
    "top_share",
)
"""Measures that tell clean speech from the rest."""
LIMITS = {"snr_db": 60.0, "worst_snr_db": 60.0, "pause_db": 70.0, "middle_db": 50.0, "gaps": 3.0,
          "flat_share": 0.01}  # fmt: skip
"""Where more of a measure says no more."""
MOST_SPREADS = 3.0
"""Values this many standard deviations from the mean are as far as values go."""
ALL_BELOW, NONE_ABOVE = 0.35, 0.65
"""Chances of being clean between which the share of the enhancement falls from 1 to 0."""


@dataclass(frozen=True)
class Decision:
    """What the gate decided.

    Attributes:
        share: of the enhanced signal in the result, 0 to 1.
        chance: that the recording is clean speech, 0 to 1.
        because: the measure that spoke most for that.
        measures: all of them; None where too little was heard.
        change_db: what the network changes in the loudest seconds, in dB re the level of the
            speech; None where nobody looked (:mod:`espnet_hybridse.inference.second_look`).
    """

    share: float
    chance: float
    because: str
    measures: Measures | None
    change_db: float | None = None

    def as_dict(self) -> dict[str, object]:
        """For the record."""
        measures = self.measures.as_dict() if self.measures else None
        return {
            "share": round(self.share, 3),
            "chance_clean": round(self.chance, 3),
            "because": self.because,
            "change_db": None if self.change_db is None else round(self.change_db, 1),
            "measures": measures,
        }


def features(measures: Measures) -> list[float]:
    """The values that the decision is made by."""
    values = ((name, getattr(measures, name)) for name in CLEAN)
    return [min(value, LIMITS.get(name, value)) for name, value in values]


def decide(measures: Measures | None) -> Decision:
    """How much of the enhancement a recording with these measures takes."""
    if measures is None:
        return Decision(1.0, 0.0, "too short to measure", None)
    network = _network()
    scaled = ((features(measures) - network.mean) / network.spread).clip(
        -MOST_SPREADS, MOST_SPREADS
    )
    # Beside the decision itself, what it would be were one measure after the other as usual.
    without = np.where(np.eye(len(CLEAN), dtype=bool), 0.0, scaled)
    votes = network(np.concatenate([scaled[None], without]))
    chance = float(1 / (1 + np.exp(-votes[0])))
    share = float(np.clip((NONE_ABOVE - chance) / (NONE_ABOVE - ALL_BELOW), 0.0, 1.0))
    spoke = votes[0] - votes[1:]
    speaking = spoke.argmax() if chance > 0.5 else spoke.argmin()
    return Decision(share, chance, CLEAN[speaking], measures)


@dataclass(frozen=True)
class Network:
    """One hidden layer over the scaled measures: (N, D) -> log odds of clean speech (N,)."""

    mean: np.ndarray
    spread: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    out: np.ndarray
    out_bias: np.ndarray

    def __call__(self, scaled: np.ndarray) -> np.ndarray:
        return np.maximum(scaled @ self.hidden.T + self.hidden_bias, 0.0) @ self.out + self.out_bias


@cache
def _network() -> Network:
    table = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    if tuple(table.pop("measures")) != CLEAN:
        raise ValueError(f"{COEFFICIENTS}: of other measures; run python -m benchmarks.fit_gate")
    return Network(**{name: np.array(values) for name, values in table.items()})


def decide_whole(wav: np.ndarray, fs: int) -> Decision:
    """The decision about a recording (C, T) of known length."""
    gauge = Gauge(fs)
    gauge.add(wav)
    return decide(gauge.result())
