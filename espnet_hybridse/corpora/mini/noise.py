"""The mini recipe's recorded noise: where each package keeps it and which set it goes to."""

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

from espnet_hybridse.corpora.recordings import Recording
from espnet_hybridse.corpora.split import SETS, shares
from espnet_hybridse.fileio.formats import is_audio

SOURCES = (
    ("megaglest-data", "ambience", "**/tilesets/*/sounds/*"),
    ("megaglest-data", "ambience", "**/water_sounds/*"),
    ("megaglest-data", "action", "**/commondata/sounds/*"),
    ("asterisk-moh-opsound-g722", "music", "**/moh/*.g722"),
    ("sonic-pi-samples", "instrument", "**/samples/*.flac"),
    ("fillets-ng-data-nl", "babble", "**/sound/**/nl/*.ogg"),
    ("tuxpaint-stamps-default", "effect", "**/stamps/**/*.ogg"),
)
"""(package, family of noise, files)."""


def find_noise(roots: dict[str, Path]) -> list[Recording]:
    """Noise files of the fetched packages, each content once; `speaker` holds the family."""
    found: list[Recording] = []
    seen = set()
    for package, family, pattern in SOURCES:
        for path in sorted(roots[package].glob(pattern)) if package in roots else ():
            if not is_audio(path) or path.is_symlink() or _is_speech(path.stem):
                continue
            content = hashlib.md5(path.read_bytes()).digest()
            if content not in seen:
                seen.add(content)
                found.append(Recording(path, family))
    return found


def _is_speech(stem: str) -> bool:
    """Spoken captions, and the strategy game's units, which answer orders with words."""
    return any(mark in stem for mark in ("_desc", "_ack", "_select"))


def split_recordings(recordings: Sequence[Recording]) -> dict[str, dict[str, list[Recording]]]:
    """set -> family -> recordings.

    A family is split 80/10/10 by folder where it has at least ten folders (a folder holds one
    scene), else by file, in an order that depends on the names only. Instruments, with many
    takes of one sound, stay in train: valid and test meet kinds of noise unseen in training.
    """
    families: dict[str, dict[str, list[Recording]]] = {}
    for recording in recordings:
        folders = families.setdefault(recording.speaker, {})
        folders.setdefault(str(recording.path.parent), []).append(recording)
    sets: dict[str, dict[str, list[Recording]]] = {name: {} for name in SETS}
    for family, folders in sorted(families.items()):
        units = list(folders.values())
        if len(units) < 10:
            units = [[recording] for members in units for recording in members]
        units.sort(key=_order)
        parts = (units, [], []) if family == "instrument" else shares(units, minimum=1)
        for name, part in zip(SETS, parts, strict=True):
            sets[name][family] = [recording for unit in part for recording in unit]
    return sets


def _order(unit: list[Recording]) -> int:
    """A shuffling order that is the same on every machine, wherever the downloads lie."""
    return zlib.crc32("/".join(unit[0].path.parts[-4:]).encode())
