"""Simulated rooms, dealt out to the three sets."""

from concurrent.futures import Executor
from pathlib import Path

from espnet_hybridse.corpora.split import SETS, shares
from espnet_hybridse.simulation.rooms import POSITIONS, render_rooms


def make_rooms(out: Path, num_rirs: int, seed: int, pool: Executor) -> dict[str, dict[str, Path]]:
    """Responses of :func:`render_rooms`, rounded up to whole rooms: set -> uid -> float WAV.

    80 % of the rooms go to train, 10 % to valid and 10 % to test; no room is in two sets.
    """
    if num_rirs < 3 * POSITIONS:
        raise ValueError(f"num_rirs={num_rirs}: at least {3 * POSITIONS} give each set a room")
    whole = -(-num_rirs // POSITIONS) * POSITIONS
    made = render_rooms(out / f"rirs_seed{seed}", whole, seed, pool)
    sets: dict[str, dict[str, Path]] = {}
    for name, members in zip(SETS, shares(made, minimum=1), strict=True):
        paths = [path for paths in members for path in paths]
        sets[name] = {path.stem: path for path in paths}
    return sets
