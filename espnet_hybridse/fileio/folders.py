"""Audio in folders and behind patterns: links are followed, loops are not, nothing goes unseen."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from espnet_hybridse.fileio.formats import AUDIO_SUFFIXES, is_audio

Names = tuple[str, ...]


def walk(
    root: Path,
    without: Path | None = None,
    enter: Callable[[Names], bool] = lambda names: True,
) -> Iterator[Path]:
    """Every file below a folder, in order of its name.

    Links to folders are followed unless they lead back to a folder that they lie in. Hidden
    folders, those that may not be read, and links that lead nowhere come as files do: whoever
    reads them says what they are.

    Args:
        root: the folder.
        without: a folder below it that is left out.
        enter: whether a folder, by the names that lead to it from `root`, is looked into.
    """
    own = None if without is None else without.resolve()
    yield from _below(root, (), (), None if own == root.resolve() else own, enter)


def _below(folder: Path, names: Names, above: tuple, without: Path | None, enter) -> Iterator[Path]:
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    here = (status.st_dev, status.st_ino)
    if here in above or (without is not None and folder.resolve() == without):
        return
    for entry in entries:
        path, inner = folder / entry.name, (*names, entry.name)
        if not _is_folder(entry) or entry.name.startswith("."):
            yield path
        elif enter(inner):
            yield from _below(path, inner, (*above, here), without, enter)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def matching(pattern: Path, without: Path | None = None) -> tuple[Path, list[Path]]:
    """The folder before the first wildcard, and the files below it that a pattern names.

    Args:
        pattern: `*`, `?`, `[…]` within a name, `**` for any number of folders.
        without: as of :func:`walk`.
    """
    root, parts = Path(), list(pattern.parts)
    while parts and (not glob.has_magic(parts[0]) or (root / parts[0]).exists()):
        root = root / parts.pop(0)
    wanted = tuple(parts)
    if wanted and wanted[-1] == "**":
        wanted = (*wanted, "*")
    found = walk(root, without, lambda names: _leads(names, wanted)) if root.is_dir() else ()
    return root, [path for path in found if _fits(path.relative_to(root).parts, wanted)]


def _fits(names: Names, wanted: Names) -> bool:
    """Whether names are those that a pattern's parts describe."""
    if not names or not wanted:
        return not names and not wanted
    if wanted[0] == "**":
        return any(_fits(names[skipped:], wanted[1:]) for skipped in range(len(names)))
    return fnmatch(names[0], wanted[0]) and _fits(names[1:], wanted[1:])


def _leads(names: Names, wanted: Names) -> bool:
    """Whether something in the folder of these names could fit."""
    if not names or wanted[:1] == ("**",):
        return bool(wanted)
    fits = len(wanted) > 1 and fnmatch(names[0], wanted[0])
    return fits and _leads(names[1:], wanted[1:])


def only_audio(files: Iterable[Path], root: Path, others: Counter) -> Iterator[Path]:
    """Files that may be audio by their names; what else there is, is counted by its ending.

    Args:
        files: below `root`.
        root: names above it do not matter.
        others: ending, or "hidden" -> number, added to.
    """
    for path in files:
        names = path.relative_to(root).parts
        if any(name.startswith(".") for name in names):
            others["hidden"] += 1
        elif not is_audio(path):
            others[path.suffix.lower() or "without ending"] += 1
        else:
            yield path


def passed_over(others: Counter) -> str:
    """How many files were left out, and of which endings most of them are."""
    kinds = ", ".join(f"{name} {count}" for name, count in others.most_common(5))
    return f"{others.total()} other files passed over ({kinds})"


def find_audio(folder: Path) -> list[Path]:
    """Every audio file under `folder`, sorted; how many others there are is logged.

    Raises:
        FileNotFoundError: no such folder, or no audio in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    others: Counter = Counter()
    found = sorted(only_audio(walk(folder), folder, others))
    if others:
        logging.info("%s: %s", folder, passed_over(others))
    if not found:
        raise FileNotFoundError(f"{folder}: no audio in it; looked for {', '.join(AUDIO_SUFFIXES)}")
    return found
