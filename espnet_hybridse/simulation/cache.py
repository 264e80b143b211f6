"""Decoded audio kept in memory: noises and rooms come again and again, files are read once."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache

import numpy as np

from espnet_hybridse.fileio.decode import container_of
from espnet_hybridse.fileio.formats import BadAudio

LIMIT_MB = 96
"""In each process: about a hundred ten-second noises at 24 kHz, or thirty-odd at 48 kHz."""


class AudioCache:
    """The arrays used last, up to `limit_mb` of them; a file that changes is read again.

    What is returned never depends on what the cache holds, only how long it takes.
    """

    def __init__(self, limit_mb: float = LIMIT_MB):
        if limit_mb < 0:
            raise ValueError(f"limit_mb={limit_mb}; accepted: 0 (no cache) or more")
        self.limit = int(limit_mb * 2**20)
        self.held = 0
        self.entries: OrderedDict[Hashable, tuple[np.ndarray, int]] = OrderedDict()

    def get(
        self, path: str, make: Callable[[], tuple[np.ndarray, int]], *key: Hashable
    ) -> tuple[np.ndarray, int]:
        """Return the array and number that `make` gives for `path` and `key`; they are read-only.

        Raises:
            BadAudio: there is no such file, or `make` raises it.
        """
        try:
            stat = os.stat(container_of(path))
        except OSError as error:
            raise BadAudio(f"unreadable: {error}") from error
        full = (path, stat.st_mtime_ns, stat.st_size, *key)
        if full in self.entries:
            self.entries.move_to_end(full)
            return self.entries[full]
        entry = make()
        self.entries[full] = entry
        self.held += _size(entry)
        while self.held > self.limit:
            self.held -= _size(self.entries.popitem(last=False)[1])
        return entry


def _size(entry: tuple[np.ndarray, int]) -> int:
    return entry[0].nbytes + 512  # what an entry takes besides its samples


@lru_cache(maxsize=1)
def process_cache() -> AudioCache:
    """Return the cache of this process."""
    return AudioCache()
