"""Headers that lie: what a recorder leaves that died before it could go back and write the sizes.

Such a file names no samples, or those of its first buffer, and goes on with all the others.
"""

import io
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

UNKNOWN = 0xFFFFFFFF
"""A size in 32 bits that says nothing: libsndfile then reads to the end of the file."""
MAX_CHUNKS = 10000
LEAST = 1024
"""Bytes behind the samples that are looked at; fewer are what other programs left there."""
TAGS = (b"ID3", b"APETAGEX", b"LYRICS", b"TAG")
"""What taggers append without a chunk."""
TEXT = frozenset(range(32, 127)) | frozenset(b"\t\n\r")
"""Bytes of plain text, which a run of samples never is."""


class View(io.RawIOBase):
    """A part of a file as a file, with some of its bytes replaced.

    Args:
        path: of the file.
        start, size: of the part in bytes; None reaches to the end.
        patches: position in the part -> bytes that are read there instead.
    """

    def __init__(
        self,
        path: str | Path,
        start: int = 0,
        size: int | None = None,
        patches: Mapping[int, bytes] | None = None,
    ):
        super().__init__()
        self._file = open(path, "rb")
        self._start, self._position = start, 0
        left = max(os.fstat(self._file.fileno()).st_size - start, 0)
        self.size = left if size is None else min(size, left)
        self.patches = dict(patches or {})

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer) -> int:
        count = min(len(buffer), self.size - self._position)
        if count <= 0:
            return 0
        self._file.seek(self._start + self._position)
        data = self._file.read(count)
        target = memoryview(buffer).cast("B")
        target[: len(data)] = data
        for position, patch in self.patches.items():
            first = max(position - self._position, 0)
            last = min(position + len(patch) - self._position, len(data))
            if first < last:
                skipped = self._position + first - position
                target[first:last] = patch[skipped : skipped + last - first]
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def corrections(file: BinaryIO) -> dict[int, bytes]:
    """Bytes to replace, such that the samples reach as far as the file does; {} for a whole file.

    Knows WAV, RF64, AIFF and AU; of others libsndfile reads all there is. What follows the samples
    must be neither another chunk, nor text, nor the zeros with which some systems fill a file up.
    """
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        return _wav(file, size, ">" if head[:4] == b"RIFX" else "<")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _aiff(file, size)
    if head[:4] == b".snd" and len(head) == 12:
        start, count = struct.unpack(">II", head[4:])
        if 24 <= start and _goes_on(file, start, start + count, size):
            return {8: struct.pack(">I", UNKNOWN)}
    return {}


def chunks(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and size of each chunk of a WAV or AIFF."""
    position = 12
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        count = struct.unpack(order + "I", header[4:])[0]
        yield header[:4], position + 8, count
        position += 8 + count + count % 2


def _wav(file: BinaryIO, size: int, order: str) -> dict[int, bytes]:
    """Of a WAV or RF64: the sizes of the samples and of the whole."""
    long_count = None
    for name, start, count in chunks(file, order):
        if name == b"ds64":
            long_count = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        if name == b"data":
            if count == UNKNOWN and long_count is None:
                return {}
            end = start + (long_count if count == UNKNOWN else count)
            if not _goes_on(file, start, end, size, order):
                return {}
            if long_count is not None:  # RF64 has its sizes in a first chunk of their own
                return {20: struct.pack("<QQ", size - 8, size - start)}
            return {
                4: struct.pack(order + "I", min(size - 8, UNKNOWN)),
                start - 4: struct.pack(order + "I", min(size - start, UNKNOWN)),
            }
    return {}


def _aiff(file: BinaryIO, size: int) -> dict[int, bytes]:
    """Of an AIFF: the sizes, and the number of samples in COMM, which libsndfile believes."""
    common, width = None, 1
    for name, start, count in chunks(file, ">"):
        if name == b"COMM":
            channels, _, bits = struct.unpack(">hIh", file.read(8).ljust(8, b"\0"))
            common, width = start + 2, max(channels, 1) * max((bits + 7) // 8, 1)
        if name == b"SSND":
            first = start + 8  # behind an offset and a block size
            if common is None or not _goes_on(file, first, start + max(count, 8), size, ">"):
                return {}
            return {
                4: struct.pack(">I", min(size - 8, UNKNOWN)),
                start - 4: struct.pack(">I", min(size - start, UNKNOWN)),
                common: struct.pack(">I", min((size - first) // width, UNKNOWN)),
            }
    return {}


def _goes_on(file: BinaryIO, start: int, end: int, size: int, order: str = "") -> bool:
    """Whether more samples follow at `end`, where a header says that those from `start` are over.

    Args:
        order: byte order of the sizes of chunks that may follow; "" where none may.
    """
    if size - end < LEAST:
        return False
    for padded in {end, end + end % 2}:
        file.seek(padded)
        header = file.read(8)
        if header.startswith(TAGS) or TEXT.issuperset(header + file.read(LEAST - 8)):
            return False
        if len(header) == 8 and all(32 <= byte < 127 for byte in header[:4]):
            count = struct.unpack((order or "<") + "I", header[4:])[0]
            if not order or padded + 8 + count <= size + 1:
                return False
    if end <= start:
        return True  # no sample at all: even zeros are some
    file.seek(end)
    while block := file.read(1 << 20):
        if block.strip(b"\0"):
            return True
    return False
