"""Noisy recordings that the page offers: of a folder, of the recipe's test set, or its own."""

from collections import Counter
from pathlib import Path

from espnet_hybridse.fileio.folders import only_audio, walk
from espnet_hybridse.fileio.lists import ListError, read_list

COUNT = 4
OWN = Path(__file__).with_name("examples")
"""Three sentences with noise made here; `README.md` there says of what."""
RECIPE = Path(__file__).parents[2] / "egs/mini/enh1"
TEST_SET = RECIPE / "dump/raw/test/wav.scp"
"""Of the recipe, once it was run in this checkout; its places are relative to the recipe."""


def find_examples(folder: str | Path | None = None, count: int = COUNT) -> dict[str, Path]:
    """Name -> file of a few noisy recordings, evenly spread over all that are there.

    Args:
        folder: with a `wav.scp`, or with audio files; None takes the recipe's test set where it
            was made, else the examples that come with the package.
        count: at most so many.

    Raises:
        FileNotFoundError: no audio in `folder`.
    """
    if folder is not None:
        found = _in(Path(folder))
        if not found:
            raise FileNotFoundError(
                f"--examples {folder}: neither a wav.scp nor audio there; name a folder with some"
            )
    else:
        found = _listed(TEST_SET, RECIPE) or _in(OWN)
    names = list(found)[:: max(len(found) // count, 1)][:count]
    return {name: found[name] for name in names}


def _in(folder: Path) -> dict[str, Path]:
    listed = _listed(folder / "wav.scp")
    if listed or not folder.is_dir():
        return listed
    return {path.stem: path for path in sorted(only_audio(walk(folder), folder, Counter()))}


def _listed(scp: Path, root: Path = Path()) -> dict[str, Path]:
    """Files of a list below `root`; entries of archives are left out."""
    try:
        table = read_list(scp)
    except (ListError, OSError):
        return {}
    return {uid: root / place for uid, place in table.items() if (root / place).is_file()}
