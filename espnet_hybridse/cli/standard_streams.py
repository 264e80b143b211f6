"""`-` for a file: standard input and output, by way of a temporary file on disk.

Audio headers are read back and forth, which a pipe does not allow; and memory stays constant.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.fileio.decode import is_there, read_info
from espnet_hybridse.fileio.formats import CONTAINERS, FALLBACK_SUFFIX

STANDARD = Path("-")


@contextlib.contextmanager
def from_input(source: Path) -> Iterator[Path]:
    """`source`, or a file with what standard input holds.

    Raises:
        BadAudio: standard input is no audio.
        ValueError: `source` is no single file.
    """
    if source != STANDARD:
        if not is_there(source) or source.suffix == ".scp":
            raise ValueError(f"{source}: OUT is - , which takes one file")
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="hybridse-") as folder:
        path = Path(folder) / "stdin"
        with open(path, "wb") as handle:
            shutil.copyfileobj(sys.stdin.buffer, handle, 1 << 20)
        info = read_info(path)
        names = {container: suffix for suffix, container in reversed(CONTAINERS.items())}
        suffix = ".opus" if info.subtype == "OPUS" else names.get(info.container, FALLBACK_SUFFIX)
        yield path.rename(path.with_suffix(suffix))


@contextlib.contextmanager
def to_output(source: Path, args: argparse.Namespace) -> Iterator[Path]:
    """`args.out`, or a file that goes to standard output at the end, if it was written."""
    if args.out != STANDARD:
        yield args.out
        return
    suffix = source.suffix if source.suffix.lower() in CONTAINERS else FALLBACK_SUFFIX
    with tempfile.TemporaryDirectory(prefix="hybridse-") as folder:
        path = Path(folder) / f"stdout{args.suffix or suffix}"
        yield path
        if path.is_file():
            with open(path, "rb") as handle:
                shutil.copyfileobj(handle, args.standard_output.buffer, 1 << 20)
            args.standard_output.buffer.flush()
