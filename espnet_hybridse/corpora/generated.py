"""Generated noise, to widen a small collection, dealt out to the three sets."""

from concurrent.futures import Executor
from pathlib import Path

from espnet_hybridse.corpora.noise_segments import Pieces
from espnet_hybridse.corpora.split import SETS, shares
from espnet_hybridse.simulation.generated import FS, write_generated


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
