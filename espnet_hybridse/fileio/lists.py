"""Kaldi-style lists, atomic files and the quarantine: what every stage reads and leaves behind."""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterable, Iterator, Mapping, Tuple, Union

PathLike = Union[str, Path]


class ListError(ValueError):
    """A list file is missing or malformed; the message names the file, the line and the fix."""


def read_list(path: PathLike) -> Dict[str, str]:
    """Read `key value…` lines (wav.scp, utt2fs, text, …), separated by blanks or tabs.

    Raises:
        ListError: the file is missing, no text, names nothing, or has a key twice.
    """
    path = Path(path)
    if path.is_dir():
        raise ListError(f"{path}: a folder; expected a list of 'key value' lines, as wav.scp is")
    if not path.is_file():
        raise ListError(f"{path}: no such list; run the stage that makes it, or check the path")
    table: Dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ListError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); expected a list of "
            "'key value' lines, not audio"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        key, *rest = line.split(maxsplit=1)
        if key in table:
            raise ListError(f"{path}:{number}: key {key!r} stands twice; keys must be unique")
        table[key] = rest[0].rstrip() if rest else ""
    if not table:
        raise ListError(f"{path}: the list is empty; at least one line 'key value' is needed")
    return table


def write_list(path: PathLike, table: Mapping[str, object]) -> None:
    """Write `key value` lines sorted by key, atomically."""
    with atomic_path(path) as tmp:
        tmp.write_text("".join(f"{key} {table[key]}\n" for key in sorted(table)), encoding="utf-8")


def read_sources(path: PathLike) -> Dict[str, Tuple[int, str]]:
    """Read a source list `uid fs path` (the challenge's *_sources.scp): uid -> (fs in Hz, path).

    Raises:
        ListError: the file is missing, names nothing, or has a malformed line or a uid twice.
    """
    path = Path(path)
    if not path.is_file():
        raise ListError(f"{path}: no such list; run the stage that makes it, or check the path")
    sources: Dict[str, Tuple[int, str]] = {}
    rates: Dict[str, int] = {}
    with open(path, encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            cells = line.split(maxsplit=2)
            if not cells:
                continue
            if len(cells) < 3 or not cells[1].isdigit():
                raise ListError(f"{path}:{number}: expected 'uid fs path', got {' '.join(cells)!r}")
            uid, fs, audio = cells
            if uid in sources:
                raise ListError(f"{path}:{number}: key {uid!r} stands twice; keys must be unique")
            # One number a rate, not one a line: such lists have a million lines.
            sources[uid] = (rates.setdefault(fs, int(fs)), audio.rstrip())
    if not sources:
        raise ListError(f"{path}: the list is empty; at least one line 'uid fs path' is needed")
    return sources


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix), renamed to it only on success."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
    os.close(handle)
    tmp = Path(name)
    try:
        yield tmp
        os.chmod(tmp, 0o644)
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


def write_json(path: PathLike, value: object) -> None:
    """Write indented JSON atomically."""
    with atomic_path(path) as tmp:
        tmp.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class Quarantine:
    """The list of bad inputs of one stage: `uid<TAB>path<TAB>reason`, appended as they are met.

    A quarantined file never stops a stage. Re-running the stage starts a fresh list, so that a
    repaired file leaves it.
    """

    def __init__(self, path: PathLike):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.count = 0

    def add(self, uid: str, path: PathLike, reason: str) -> None:
        self.count += 1
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(f"{uid}\t{path}\t{' '.join(str(reason).split())}\n")

    def extend(self, rows: Iterable[Tuple[str, str, str]]) -> None:
        for row in rows:
            self.add(*row)

    def summary(self) -> str:
        return f"{self.count} quarantined ({self.path})" if self.count else "0 quarantined"
