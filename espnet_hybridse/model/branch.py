"""The three networks of the system: their names, their separators, their configurations."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Branch:
    """One network that is trained, and how it is called in each place.

    Attributes:
        name: in options and folders, as in `--branch disc`.
        title: in tables.
        separator: the ESPnet name of the separator that is nothing else; any other separator is
            a discriminative branch.
        config: file of a preset that trains it.
    """

    name: str
    title: str
    separator: str
    config: str


DISC = Branch("disc", "Dis.", "tfgridnet_sfi", "train_disc.yaml")
GEN = Branch("gen", "Gen.", "ar_refiner", "train_gen.yaml")
# The network is called the fusion; what it makes of both branches, the hybrid.
HYBRID = Branch("hybrid", "Hybrid", "uses_fusion", "train_fusion.yaml")

BRANCHES = {branch.name: branch for branch in (HYBRID, GEN, DISC)}
"""By name, in the order in which one of several models is chosen."""
PARTS = (DISC.name, GEN.name)
"""The branches that a hybrid is made of."""
FUSED = (*PARTS, "third")
"""Options of a fusion that name other models: its branches, and one more that it may hear."""


def branch_of(separator: str) -> Branch:
    """Return the branch that a separator of this name makes."""
    return {GEN.separator: GEN, HYBRID.separator: HYBRID}.get(separator, DISC)
