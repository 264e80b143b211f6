"""The challenge's lists of selected utterances: one uid a line."""

from pathlib import Path

from espnet_hybridse.fileio.lists import ListError

PUBLISHED = (
    "https://github.com/urgent-challenge/urgent2026_challenge_track1/tree/main/meta "
    "(train_urgent2026, on the challenge's page also train_selected_700h, and validation_selected)"
)


def read_selection(path: Path) -> frozenset[str]:
    """The uids of a list; more columns, as in an scp, are left aside.

    Raises:
        ListError: no such file, or nothing in it.
    """
    if not path.is_file():
        raise ListError(f"{path}: no such selection list; it is published at {PUBLISHED}")
    with open(path, encoding="utf-8") as handle:
        uids = frozenset(line.split()[0] for line in handle if line.strip())
    if not uids:
        raise ListError(f"{path}: the selection list is empty; fetch it again from {PUBLISHED}")
    return uids
