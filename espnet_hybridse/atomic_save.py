"""Checkpoints that are whole whenever the process is killed."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import torch

from espnet_hybridse.lists import atomic_path


@contextmanager
def atomic_saves() -> Iterator[None]:
    """Within, `torch.save` to a path writes a temporary file and renames it.

    ESPnet overwrites `checkpoint.pth` in place: killed meanwhile, a training could never resume.
    Its saving is one line in the middle of the loop, so the function is exchanged, not the loop.
    """
    save = torch.save

    def save_atomically(obj, f, *args, **kwargs):
        if not isinstance(f, (str, os.PathLike)):
            return save(obj, f, *args, **kwargs)
        with atomic_path(Path(f)) as tmp:
            return save(obj, tmp, *args, **kwargs)

    torch.save = save_atomically
    try:
        yield
    finally:
        torch.save = save
