"""Checkpoints that are whole whenever the process is killed."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import numpy as np
import torch

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.training.rotation import CHECKPOINT, keep_previous
from espnet_hybridse.training.space import explain_full_disk


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
def atomic_saves(prepare: Optional[Callable[[Path, Any], Any]] = None) -> Iterator[None]:
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
