"""Kaldi-style lists, atomic files and the quarantine: what every stage reads and leaves behind."""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from espnet_hybridse.fileio.formats import shown

PathLike = str | Path
BLANKS = " \t\r\n"
"""What separates and surrounds the parts of a line; other white space is part of a text."""

BLANK = re.compile(r"[ \t]+")


class ListError(ValueError):
    """A list file is missing or malformed; the message names the file, the line and the fix."""


def read_lines(path: PathLike) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank.

    Only line feeds end a line: what else Unicode breaks lines at may stand in a text. A byte
    order mark is no part of the first key. File names need not be UTF-8: their bytes stay what
    they are, as surrogates (:pep:`383`).

    Raises:
        ListError: the file is missing, or no text.
    """
    path = Path(path)
    if path.is_dir():
        raise ListError(f"{path}: a folder; expected a list of 'key value' lines, as wav.scp is")
    if not path.is_file():
        raise ListError(f"{path}: no such list; run the stage that makes it, or check the path")
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, "replace" if encoding == "utf-16" else "surrogateescape")
    if "\0" in text:
        raise ListError(
            f"{path}: not text (zero at character {text.index(chr(0))}); expected a list of "
            "'key value' lines, not audio"
        )
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(BLANKS):
            yield number, line.strip(BLANKS)


def read_list(path: PathLike) -> dict[str, str]:
    """Read `key value…` lines (wav.scp, utt2fs, text, …), separated by blanks or tabs.

    Raises:
        ListError: the file is missing, no text, names nothing, or has a key twice.
    """
    table: dict[str, str] = {}
    for number, line in read_lines(path):
        key, *rest = BLANK.split(line, maxsplit=1)
        key = shown(key)
        if key in table:
            raise ListError(f"{path}:{number}: key {key!r} stands twice; keys must be unique")
        table[key] = rest[0] if rest else ""
    if not table:
        raise ListError(f"{path}: the list is empty; at least one line 'key value' is needed")
    return table


def write_list(path: PathLike, table: Mapping[str, object]) -> None:
    """Write `key value` lines sorted by key, atomically."""
    with atomic_path(path) as tmp:
        text = "".join(f"{key} {table[key]}\n" for key in sorted(table))
        tmp.write_text(text, encoding="utf-8", errors="surrogateescape")


def read_sources(path: PathLike) -> dict[str, tuple[int, str]]:
    """Read a source list `uid fs path` (the challenge's *_sources.scp): uid -> (fs in Hz, path).

    Raises:
        ListError: the file is missing, names nothing, or has a malformed line or a uid twice.
    """
    sources: dict[str, tuple[int, str]] = {}
    rates: dict[str, int] = {}
    for number, line in read_lines(path):
        cells = BLANK.split(line, maxsplit=2)
        if len(cells) < 3 or not (cells[1].isascii() and cells[1].isdigit()):
            raise ListError(f"{path}:{number}: expected 'uid fs path', got {' '.join(cells)!r}")
        uid, fs, audio = shown(cells[0]), cells[1], cells[2]
        if uid in sources:
            raise ListError(f"{path}:{number}: key {uid!r} stands twice; keys must be unique")
        # One number a rate, not one a line: such lists have a million lines.
        sources[uid] = (rates.setdefault(fs, int(fs)), audio)
    if not sources:
        raise ListError(f"{path}: the list is empty; at least one line 'uid fs path' is needed")
    return sources


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix), renamed to it only on success.

    The file has the rights that the umask leaves.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's 600 and a chmod later, which some file systems refuse (CIFS, exFAT, FUSE).
    while True:
        tmp = path.with_name(f".tmp-{secrets.token_hex(8)}{path.suffix}")
        try:
            os.close(os.open(tmp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            break
        except FileExistsError:
            continue
    try:
        yield tmp
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


def write_json(path: PathLike, value: object) -> None:
    """Write indented JSON atomically."""
    with atomic_path(path) as tmp:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        tmp.write_text(text, encoding="utf-8", errors="backslashreplace")


def whole_lines(path: PathLike) -> list[str]:
    """Lines of a list that is appended to while a stage runs; [] where there is none.

    A kill may have torn the last one, even in the middle of a character: it is left out.
    """
    path = Path(path)
    whole, _, _ = path.read_bytes().rpartition(b"\n") if path.is_file() else (b"", b"", b"")
    return [line for line in whole.decode("utf-8", "backslashreplace").split("\n") if line]


@contextmanager
def appended(path: PathLike) -> Iterator[Callable[[str], None]]:
    """Yield a function that appends a line to a list, in the system's hands when it returns.

    A last line that a kill tore is cut off first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as handle:
        handle.truncate(_end_of_whole_lines(handle))

        def append(line: str) -> None:
            handle.write(line.encode("utf-8", "backslashreplace") + b"\n")
            handle.flush()

        yield append


def _end_of_whole_lines(handle: BinaryIO, block: int = 1 << 16) -> int:
    """Bytes up to and with the last line feed, looked for from the end."""
    end = handle.seek(0, os.SEEK_END)
    while end:
        start = max(end - block, 0)
        handle.seek(start)
        last = handle.read(end - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0


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
        row = "\t".join(" ".join(shown(str(cell)).split()) for cell in (uid, path, reason))
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(row + "\n")

    @staticmethod
    def read(path: PathLike) -> list[tuple[str, str, str]]:
        """Rows (uid, path, reason) of a list that a stage left; [] where it left none."""
        rows = (line.split("\t", 2) for line in whole_lines(path))
        return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]

    def extend(self, rows: Iterable[tuple[str, str, str]]) -> None:
        for row in rows:
            self.add(*row)

    def summary(self) -> str:
        return f"{self.count} quarantined ({self.path})" if self.count else "0 quarantined"
