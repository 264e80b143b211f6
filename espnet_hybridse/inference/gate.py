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
    """

    share: float
    chance: float
    because: str
    measures: Measures | None

    def as_dict(self) -> dict[str, object]:
        """For the record."""
        measures = self.measures.as_dict() if self.measures else None
        return {
            "share": round(self.share, 3),
            "chance_clean": round(self.chance, 3),
            "because": self.because,
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
    mean, spread, linear, square, constant = _coefficients()
    scaled = ((features(measures) - mean) / spread).clip(-MOST_SPREADS, MOST_SPREADS)
    votes = linear * scaled + square * np.square(scaled)
    chance = float(1 / (1 + np.exp(-(votes.sum() + constant))))
    share = float(np.clip((NONE_ABOVE - chance) / (NONE_ABOVE - ALL_BELOW), 0.0, 1.0))
    speaking = votes.argmax() if chance > 0.5 else votes.argmin()
    return Decision(share, chance, CLEAN[speaking], measures)


@cache
def _coefficients() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    table = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    if tuple(table["measures"]) != CLEAN:
        raise ValueError(f"{COEFFICIENTS}: of other measures; run python -m benchmarks.fit_gate")
    arrays = (np.array(table[name]) for name in ("mean", "spread", "linear", "square"))
    return (*arrays, table["constant"])


def decide_whole(wav: np.ndarray, fs: int) -> Decision:
    """The decision about a recording (C, T) of known length."""
    gauge = Gauge(fs)
    gauge.add(wav)
    return decide(gauge.result())
