"""Checkpoints that are whole whenever the process is killed, and the one before each.

A broken file costs an epoch, not a training.
"""

import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.training.guards import explain_full_disk

CHECKPOINT, PREVIOUS, BROKEN = "checkpoint.pth", "checkpoint_previous.pth", "checkpoint_broken.pth"


def plain(value: Any) -> Any:
    """`value` with Python's numbers in the place of NumPy's, in dicts, lists and tuples.

    The reporter of ESPnet 202511 puts NumPy's into its checkpoints, which can then be read only by
    a loader that executes what a file says.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


@contextmanager
def atomic_saves(prepare: Callable[[Path, Any], Any] | None = None) -> Iterator[None]:
    """Within, `torch.save` to a path writes a temporary file and renames it.

    ESPnet overwrites `checkpoint.pth` in place: killed meanwhile, a training could never resume.
    Its saving is one line in the middle of the loop, so the function is exchanged, not the loop.
    The checkpoint before stays beside the new one, and a full disk leaves both as they were.

    Args:
        prepare: gives what is saved instead of an object, from its path and itself; what it raises
            keeps the file as it was.
    """
    save = torch.save

    def save_atomically(obj, f, *args, **kwargs):
        if not isinstance(f, (str, os.PathLike)):
            return save(obj, f, *args, **kwargs)
        path = Path(f)
        if prepare is not None:
            obj = prepare(path, obj)
        obj = plain(obj)
        try:
            with atomic_path(path) as tmp:
                with open(tmp, "wb") as handle:
                    save(obj, handle, *args, **kwargs)
                    handle.flush()
                    # A machine that goes down must not leave a name without its bytes.
                    os.fsync(handle.fileno())
                if path.name == CHECKPOINT:
                    keep_previous(path)
        except (OSError, RuntimeError) as error:
            raise explain_full_disk(error, path) from error

    torch.save = save_atomically
    try:
        yield
    finally:
        torch.save = save


def keep_previous(checkpoint: Path) -> None:
    """Keep what `checkpoint` is now under a second name, before it is replaced.

    Only one that can be read takes the place of an earlier one.
    """
    if is_whole(checkpoint):
        with atomic_path(checkpoint.with_name(PREVIOUS)) as tmp:
            tmp.unlink()
            try:
                os.link(checkpoint, tmp)
            except OSError:  # some network file systems have no second names
                shutil.copyfile(checkpoint, tmp)


def mend(folder: Path) -> None:
    """Put the previous checkpoint in the place of one that cannot be read.

    The broken one is kept as `checkpoint_broken.pth`.

    Raises:
        RuntimeError: neither can be read.
    """
    checkpoint, previous = folder / CHECKPOINT, folder / PREVIOUS
    if not checkpoint.is_file() and not previous.is_file() or is_whole(checkpoint):
        return
    if not is_whole(previous):
        raise RuntimeError(
            f"{checkpoint} cannot be read and there is no whole {PREVIOUS} beside it; delete it to "
            "train anew, or start from the weights of an epoch with --init"
        )
    if checkpoint.is_file():
        os.replace(checkpoint, folder / BROKEN)
    with atomic_path(checkpoint) as tmp:
        shutil.copyfile(previous, tmp)
    logging.warning(f"{checkpoint} cannot be read; training goes on from {PREVIOUS}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of a training holds, read without executing anything.

    Raises:
        Exception: of many kinds, where the file is broken.
    """
    # The reporter of ESPnet 202511 keeps durations.
    with torch.serialization.safe_globals([timedelta]):
        return torch.load(path, map_location="cpu", weights_only=True)


def is_whole(path: Path) -> bool:
    """Whether a file that torch.save wrote can be read to its end and its checksums are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False
