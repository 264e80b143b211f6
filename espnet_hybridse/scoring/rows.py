"""The per-utterance rows of one scored system: `scores.jsonl`, appended while scoring runs."""

import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from espnet_hybridse.fileio.lists import ListError, PathLike, Quarantine, atomic_path, whole_lines

Row = dict[str, Any]
"""`uid`, `stamp`, `fs` (Hz), `seconds`, `scores` {column: value or null}, `failed` {column:
reason}, `weights` {column: weight in the mean}, `notes`, `cost_s` {column: seconds it took},
`models` {column: weights named with --models}, `channels` where there are several."""

MERGED = ("scores", "failed", "weights", "notes", "cost_s", "models")


def read_rows(*paths: PathLike) -> dict[str, Row]:
    """uid -> row. Later lines add their columns to earlier ones of the same file and stamp.

    A last line torn by a kill is left out; so is an older line whose stamp is not the newest, as
    its file has changed since.

    Raises:
        ListError: a whole line is no row.
    """
    rows: dict[str, Row] = {}
    for path in paths:
        for number, line in enumerate(whole_lines(path), 1):
            row = _row(line, f"{path}:{number}")
            known = rows.get(row["uid"])
            if known and known["stamp"] == row["stamp"]:
                for part in MERGED:
                    row[part] = {**known.get(part, {}), **row.get(part, {})}
                for name in row["failed"].keys() & row["scores"].keys():
                    if row["scores"][name] is not None:  # it failed once and works now
                        del row["failed"][name]
            rows[row["uid"]] = row
    return rows


def compact(path: PathLike, uids: Container[str], others: Sequence[PathLike] = ()) -> None:
    """Leave one whole line for each of `uids`: none torn, none of an utterance off the list.

    Args:
        others: rows of array jobs, taken over where `path` has none that are newer.
    """
    path, rows = Path(path), read_rows(*others, path)
    if path.exists() or rows:
        with atomic_path(path) as tmp, open(tmp, "w", encoding="utf-8") as handle:
            for uid in sorted(rows):
                if uid in uids:
                    append_row(handle, rows[uid])


def append_row(handle, row: Row) -> None:
    """Write one line and hand it to the system at once: a kill loses the running files only."""
    handle.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
    handle.flush()


def read_quarantine(path: PathLike) -> dict[str, str]:
    """uid -> reason of the files that could not be scored."""
    return {uid: reason for uid, _, reason in Quarantine.read(path)}


def _row(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
        if isinstance(row, dict) and {"uid", "stamp", "scores"} <= row.keys():
            return row
    except ValueError:
        pass
    raise ListError(f"{where}: no row of scores; delete this line, and it is scored again")
