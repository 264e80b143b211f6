"""Generated noise and simulated rooms, to widen a small collection: dealt out to the sets."""

from concurrent.futures import Executor
from pathlib import Path

from espnet_hybridse.corpora.noise_segments import Pieces
from espnet_hybridse.corpora.split import SETS, shares
from espnet_hybridse.simulation.generated import FS, write_generated
from espnet_hybridse.simulation.rooms import POSITIONS, render_rooms


def make_generated(
    kind: str, count: int, out: Path, seed: int, pool: Executor
) -> dict[str, Pieces]:
    """Files of :func:`write_generated`: set -> uid -> (fs, path).

    80 % go to train, 10 % to valid, 10 % to test.

    Raises:
        ValueError: `count` is below 3, so that a set would have none.
    """
    if count < len(SETS):
        raise ValueError(f"{count} {kind} noises: at least {len(SETS)}, one a set, are needed")
    paths = write_generated(kind, count, out / f"{kind}_seed{seed}", seed, pool)
    return {
        name: {path.stem: (FS, str(path.resolve())) for path in part}
        for name, part in zip(SETS, shares(paths, minimum=1), strict=True)
    }


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
