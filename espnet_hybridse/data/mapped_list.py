"""A Kaldi list of a million lines without a million Python objects."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.lists import ListError

BLOCK = 2**26
"""Bytes, or about as many, that are looked at together."""
NEWLINE, SPACE = 10, 32


class MappedList:
    """`key value…` lines whose values stay in the file until they are asked for.

    Keys and the places of the values are kept, about 60 bytes a line; a `dict` takes ten times as
    much, in every process that loads data. Lines are ordered by key.

    Args:
        path: list of UTF-8 text.

    Attributes:
        keys: (N,) bytes, sorted.

    Raises:
        ListError: the file is missing, names nothing, or has a key twice.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise ListError(f"{path}: no such list; run the stage that makes it, or check the path")
        keys, starts, ends, sizes = _scanned(self.path)
        if not keys.size:
            raise ListError(f"{path}: the list is empty; at least one line 'key value' is needed")
        if (keys[1:] <= keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            keys, starts, ends, sizes = keys[order], starts[order], ends[order], sizes[order]
            twice = np.flatnonzero(keys[1:] == keys[:-1])
            if twice.size:
                key = keys[twice[0]].decode("utf-8", "replace")
                raise ListError(f"{path}: key {key!r} stands twice; keys must be unique")
        self.keys = keys
        self._starts, self._ends = starts + sizes, ends
        self._text: np.memmap | None = None

    def __len__(self) -> int:
        return len(self._starts)

    def __getstate__(self):
        # A worker maps the file itself.
        return {**self.__dict__, "_text": None}

    def value(self, row: int) -> str:
        """What follows the key of a row."""
        place = slice(self._starts[row], self._ends[row])
        return self._map()[place].tobytes().decode("utf-8").strip()

    def integers(self, rows: np.ndarray) -> np.ndarray:
        """The first whole number of the values of `rows`, such as rates or lengths: int64.

        Raises:
            ListError: a value does not begin with one.
        """
        width = 24  # blanks, 19 digits and what ends them
        out = np.empty(len(rows), np.int64)
        for part in _blocks(len(rows), width):
            chosen = rows[part]
            starts = self._starts[chosen]
            window = _window(self._map(), starts, self._ends[chosen], width)
            digits = (window >= 48) & (window <= 57)
            # From the first digit on, up to what is none: a sign or a letter before it is no number
            begun = np.cumsum(digits, 1) > 0
            ended = np.cumsum(begun & ~digits, 1) > 0
            strange = ~begun & (window > SPACE)
            bad = np.flatnonzero(strange.any(1) | ~digits.any(1) | ~(begun & ended).any(1))
            if bad.size:
                row = chosen[bad[0]]
                raise ListError(
                    f"{self.path}: {self.keys[row].decode('utf-8', 'replace')} has "
                    f"{self.value(row)[:40]!r}; expected a whole number"
                )
            window[~digits | ended] = SPACE
            out[part] = window.view(f"S{width}")[:, 0].astype(np.int64)
        # All pages have been touched, and would count as this process's memory.
        self._text = None
        return out

    def _map(self) -> np.memmap:
        if self._text is None:
            self._text = np.memmap(self.path, np.uint8, "r")
        return self._text

    def forget_keys(self) -> None:
        """Drop the keys, once it is known which rows belong together."""
        self.keys = np.empty(0, "S1")


def first_value(path: str | Path) -> str:
    """The value of a list's first line, without reading the others.

    Raises:
        ListError: there is no line.
    """
    with open(path, encoding="utf-8") as handle:
        for line in handle:
            if line.strip():
                return line.split(maxsplit=1)[1].rstrip() if len(line.split()) > 1 else ""
    raise ListError(f"{path}: the list is empty; at least one line 'key value' is needed")


def join(lists: Sequence[MappedList]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The keys (N,) that stand in all lists, sorted, and each list's rows (N,) of them."""
    common = lists[0].keys
    for other in lists[1:]:
        if not np.array_equal(common, other.keys):
            common = common[_rows(other.keys, common) >= 0]
    return common, [_rows(item.keys, common).astype(np.int32) for item in lists]


def _rows(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where `wanted` stand in sorted `keys`; -1 where they do not."""
    if np.array_equal(keys, wanted):
        return np.arange(len(keys))
    rows = np.searchsorted(keys, wanted)
    found = keys[np.minimum(rows, len(keys) - 1)] == wanted
    return np.where(found, rows, -1)


def _scanned(path: Path) -> tuple[np.ndarray, ...]:
    """Keys (N,) of a list's lines, their first bytes, ends and the bytes of their keys, (N,) each.

    The file is read block by block, not mapped: the pages of a map that has been read through count
    as this process's memory. Blank lines name nothing and are left out.
    """
    found, rest, offset = [], b"", 0
    with open(path, "rb") as handle:
        while block := handle.read(BLOCK):
            block = rest + block
            whole = block.rfind(b"\n") + 1
            found.append(_of_block(block[:whole], offset))
            rest, offset = block[whole:], offset + whole
    if rest:
        found.append(_of_block(rest + b"\n", offset))
    found = [columns for columns in found if columns[0].size]
    if not found:
        none = np.empty(0, np.int64)
        return np.empty(0, "S1"), none, none, none
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def _of_block(block: bytes, offset: int) -> tuple[np.ndarray, ...]:
    """As :func:`_scanned`, of whole lines that begin at `offset` of the file."""
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text == NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    keys, sizes = _keys(text, starts, ends)
    kept = sizes > 0
    places = ((column[kept] + offset) for column in (starts, ends))
    return keys[kept].astype(f"S{max(sizes.max(initial=1), 1)}"), *places, sizes[kept]


def _keys(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys (N,) of lines and their bytes (N,), 0 of a blank line; a line begins with its key."""
    width = 32
    while True:
        keys = np.empty(len(starts), f"S{width}")
        sizes = np.empty(len(starts), np.int64)
        for part in _blocks(len(starts), width):
            window = _window(text, starts[part], ends[part], width + 1)
            blank = window <= SPACE
            size = blank.argmax(1)
            size[~blank.any(1)] = width + 1
            sizes[part] = size
            window = np.where(np.arange(width) < size[:, None], window[:, :width], 0)
            keys[part] = np.ascontiguousarray(window).view(f"S{width}")[:, 0]
        if not sizes.size or sizes.max() <= width:
            return keys, sizes
        width *= 2


def _window(text: np.ndarray, starts: np.ndarray, ends: np.ndarray, width: int) -> np.ndarray:
    """(N, width) bytes of lines from `starts` on; blanks behind their ends."""
    index = starts[:, None] + np.arange(width)
    window = text[np.minimum(index, len(text) - 1)]
    return np.where(index < ends[:, None], window, SPACE).astype(np.uint8)


def _blocks(count: int, width: int) -> list[slice]:
    size = max(1, BLOCK // (16 * width))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
