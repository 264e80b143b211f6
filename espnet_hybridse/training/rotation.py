"""The last checkpoint and the one before it: a broken file costs an epoch, not a training."""

import logging
import os
import shutil
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any, Dict

import torch

from espnet_hybridse.fileio.lists import atomic_path

CHECKPOINT, PREVIOUS, BROKEN = "checkpoint.pth", "checkpoint_previous.pth", "checkpoint_broken.pth"


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


def read_checkpoint(path: Path) -> Dict[str, Any]:
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
