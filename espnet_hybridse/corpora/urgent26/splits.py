"""Splits of corpora that come without one: by group, never by file.

A group is a speaker, a room or a recording. Valid follows the challenge's rule where it has one;
the challenge makes no test set from these corpora, so test is ours throughout.
"""

from collections.abc import Iterable
from pathlib import Path

from espnet_hybridse.fileio.lists import ListError


def share_out(groups: Iterable[str], valid: int, test: int) -> dict[str, str]:
    """Group -> set, in sorted order: the first `valid` groups, the next `test`, the rest train.

    A small corpus gives a tenth to each instead, one group at least, and where there are fewer
    than three groups all of them to train.
    """
    names = sorted(set(groups))
    tenth = max(round(0.1 * len(names)), 1) if len(names) > 2 else 0
    first, second = min(valid, tenth), min(test, tenth)
    parts = ["valid"] * first + ["test"] * second + ["train"] * (len(names) - first - second)
    return dict(zip(names, parts, strict=True))


def eighths(uids: Iterable[str]) -> dict[str, str]:
    """Uid -> set: of the sorted uids the first eighth is held out, as the challenge does.

    Half of it is valid and half test (ours), one each at least where there are three or more.
    """
    names = sorted(set(uids))
    held = len(names) // 8
    if held < 2:
        return share_out(names, 1, 1)
    parts = ["valid"] * (held - held // 2) + ["test"] * (held // 2)
    return dict(zip(names, parts + ["train"] * (len(names) - held), strict=True))


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
