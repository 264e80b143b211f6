"""What a file says besides its samples: tags, and the time code, cue points and channels of a WAV.

Tags need mutagen (extra `tags`); chunks of WAV and AIFF are copied as they are.
"""

import importlib.util
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.fileio.decode import container_of
from espnet_hybridse.fileio.headers import chunks

TAGS = "pip install 'espnet_hybridse[tags]'"
KEPT = {
    "WAVE": (b"bext", b"iXML", b"cue ", b"LIST", b"smpl", b"inst", b"cart", b"axml", b"umid",
             b"id3 ", b"ID3 ", b"_PMX"),
    "AIFF": (b"MARK", b"COMT", b"INST", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"APPL", b"ID3 "),
}  # fmt: skip
"""Chunks that stay true when samples change but their number and rate do not."""
TIMED = {b"bext": "time code", b"cue ": "cue points", b"MARK": "markers", b"iXML": "iXML"}
"""What users miss where it is lost, and what it is called."""
MAX_CHUNK = 64 * 2**20
LEVEL_TAGS = ("replaygain", "r128_", "encoder", "encoded")
"""Beginnings of tags that are true of the source's samples alone."""


def copy_metadata(source: str | Path, target: Path) -> list[str]:
    """Bring the metadata of `source` into the written file `target`; returns what was lost.

    Args:
        source: file of any kind.
        target: result, still under a temporary name of the right ending.
    """
    if container_of(source) != str(source):
        return []  # within an archive
    source = Path(source)
    lost = _copy_chunks(source, target)
    if importlib.util.find_spec("mutagen") is None:
        return lost
    return lost + _copy_tags(source, target)


def _copy_chunks(source: Path, target: Path) -> list[str]:
    there, goal = _form(source), _form(target)
    found = list(_kept(source, there)) if there else []
    if there and there == goal:
        _append(target, there, found)
        _copy_channel_mask(source, target)
        return []
    names = [TIMED[name] for name, _ in found if name in TIMED]
    return [f"{name}: {target.suffix.lstrip('.')} has no place for it" for name in names]


def _form(path: Path) -> str | None:
    """WAVE or AIFF, if it is one."""
    with open(path, "rb") as handle:
        head = handle.read(12)
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:] == b"WAVE":
        return "WAVE"
    return "AIFF" if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC") else None


def _order(head: bytes) -> str:
    return "<" if head in (b"RIFF", b"RF64") else ">"


def _kept(path: Path, form: str) -> Iterator[tuple[bytes, bytes]]:
    size = path.stat().st_size
    with open(path, "rb") as handle:
        for name, start, count in chunks(handle, _order(handle.read(4))):
            if name in KEPT[form] and count <= MAX_CHUNK and start + count <= size:
                handle.seek(start)
                yield name, handle.read(count)


def _append(path: Path, form: str, found: list[tuple[bytes, bytes]]) -> None:
    """Write chunks behind all others and mend the size of the whole."""
    with open(path, "r+b") as handle:
        order = _order(head := handle.read(4))
        there = {name for name, _, _ in chunks(handle, order)}
        handle.seek(0, os.SEEK_END)
        if handle.tell() % 2:
            handle.write(b"\0")
        for name, data in found:
            if name not in there or name == b"LIST":
                handle.write(name + struct.pack(order + "I", len(data)) + data)
                handle.write(b"\0" * (len(data) % 2))
        size = handle.tell() - 8
        handle.seek(20 if head == b"RF64" else 4)  # the first number of its chunk ds64
        handle.write(struct.pack("<Q" if head == b"RF64" else order + "I", size))


def _copy_channel_mask(source: Path, target: Path) -> None:
    """Copy which loudspeaker each channel is for, in the extended format; libsndfile sets none."""
    place = _channel_mask(source)
    goal = _channel_mask(target)
    if place and goal:
        with open(source, "rb") as handle:
            handle.seek(place)
            mask = handle.read(4)
        with open(target, "r+b") as handle:
            handle.seek(goal)
            handle.write(mask)


def _channel_mask(path: Path) -> int | None:
    """The byte where the mask of channels stands, if there is one."""
    with open(path, "rb") as handle:
        if handle.read(4) not in (b"RIFF", b"RF64"):
            return None
        for name, start, count in chunks(handle, "<"):
            if name == b"fmt ":
                handle.seek(start)
                extended = handle.read(2) == b"\xfe\xff" and count >= 40
                return start + 20 if extended else None
    return None


def _copy_tags(source: Path, target: Path) -> list[str]:
    """Copy all tags between files of one kind, and those that have a common name between others."""
    import mutagen

    try:
        theirs, ours = mutagen.File(source), mutagen.File(target)
        if theirs is None or not theirs.tags or not len(theirs.tags):
            return []
        if ours is None:
            return [f"tags: {target.suffix.lstrip('.')} has no place for them"]
        if type(theirs) is type(ours):
            return _copy_same(theirs, ours)
        theirs, ours = mutagen.File(source, easy=True), mutagen.File(target, easy=True)
        return _copy_common(theirs, ours, target)
    except (mutagen.MutagenError, OSError, ValueError, KeyError, TypeError) as error:
        return [f"tags: {type(error).__name__}: {error}"]


def _copy_same(theirs, ours) -> list[str]:
    if ours.tags is None:
        ours.add_tags()
    for key in list(theirs.tags.keys()):
        if not key.lower().removeprefix("txxx:").startswith(LEVEL_TAGS):
            ours.tags[key] = theirs.tags[key]
    for picture in getattr(theirs, "pictures", []):
        ours.add_picture(picture)
    ours.save()
    return []


def _copy_common(theirs, ours, target: Path) -> list[str]:
    if ours.tags is None:
        ours.add_tags()
    missing = 0
    for key, value in dict(theirs.tags).items():
        if str(key).lower().startswith(LEVEL_TAGS):
            continue
        try:
            ours.tags[key] = [str(item) for item in value] if isinstance(value, list) else value
        except (KeyError, ValueError, TypeError, AttributeError):
            missing += 1
    ours.save()
    return [f"{missing} tags: {target.suffix.lstrip('.')} has no name for them"] if missing else []
