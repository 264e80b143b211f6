"""Room responses: OpenSLR 26 and 28 as they come, or as DNS5 packs them."""

from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.corpora.urgent26.corpus import Item, clean_uid
from espnet_hybridse.corpora.urgent26.splits import share_out

ANY = 10**9


def read_rirs(root: Path) -> Iterator[Item]:
    """Every .wav below `root` but noises; `largeroom/Room001/Room001-00001.wav` are of one room.

    The challenge uses all of them in train and in validation. Ours keeps rooms apart: eight
    tenths train, one tenth each valid and test. A measured response is a room of its own unless
    its name differs in the trailing number only.
    """
    rooms = {}
    for path in sorted(root.rglob("*.wav")):
        inner = path.relative_to(root).parts
        # RIRS_NOISES also holds point-source and isotropic noises.
        if "pointsource_noises" in inner or "noise" in path.stem.lower():
            continue
        if path.parent.name.startswith("Room"):
            rooms[path] = "/".join(path.parts[-3:-1])
        else:
            rooms[path] = path.stem.rstrip("0123456789_-")
    parts = share_out(rooms.values(), ANY, ANY)
    for path, room in rooms.items():
        uid = clean_uid(f"{path.parts[-3]}-{path.stem}" if "/" in room else f"real-{path.stem}")
        yield Item(uid, path, parts[room])
