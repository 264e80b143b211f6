"""How much of the enhancement a recording takes: none of it where it is clean already.

An enhancer should leave clean speech alone, but networks change it by some decibels. The decision
is made by cheap measures (:mod:`espnet_hybridse.inference.measures`), which the record of a file
names. Our choice; the paper enhances everything.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from espnet_hybridse.inference.measures import Measures

GATES = ("auto", "off")
COEFFICIENTS = Path(__file__).with_name("gate.json")
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
LIMITS = {"snr_db": 60, "worst_snr_db": 60, "pause_db": 70, "middle_db": 50, "gaps": 3,
          "flat_share": 0.01}  # fmt: skip
"""Where more of a measure says no more."""


def features(measures: Measures) -> list[float]:
    """The values that the decision is made by."""
    values = ((name, getattr(measures, name)) for name in CLEAN)
    return [min(value, LIMITS.get(name, value)) for name, value in values]
