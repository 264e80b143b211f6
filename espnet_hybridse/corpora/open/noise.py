"""What each repository of noise holds: one scene or recordist is one source, in one set only."""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from espnet_hybridse.corpora.open.fetch import Fetched

MAX_SOURCE_SECONDS = 150.0
"""Most of one recording that is used (our choice): the number of sources counts, not hours."""


@dataclass(frozen=True)
class NoiseFile:
    """One recording: `source` names what may be in one set only."""

    path: Path
    source: str


def find_noise(fetched: Fetched) -> list[NoiseFile]:
    """The recordings of a repository of noise and their sources."""
    source_of = SOURCES_OF[fetched.source.name]
    found = [NoiseFile(path, source_of(path)) for path in fetched.audio]
    return sorted(found, key=lambda file: (file.source, str(file.path)))


def noise_set(source: str) -> str:
    """The set of a source: scenes by the table, the others by a hash of their name."""
    family, _, name = source.partition("-")
    if family in ALL_IN_TRAIN:
        return "train"
    if family == "scene":
        return "test" if name in TEST_SCENES else "valid" if name in VALID_SCENES else "train"
    place = zlib.crc32(source.encode()) % 100
    return "valid" if place < 7 else "test" if place < 17 else "train"


def _kitchen(path: Path) -> str:
    """`<fold>-<uploader or name>-<take>-<class>.wav`: takes of one recording belong together."""
    name = path.stem.rsplit("-", 2)[0]
    return f"kitchen-{_plain(name.partition('-')[2])}"


def _scene(path: Path) -> str:
    """Several collections share recordings, re-encoded: the same scene is the same source."""
    stem = SAME_SCENE.get(path.stem, path.stem)
    return f"scene-{_plain(stem)}"


def _baby(path: Path) -> str:
    """`<telephone>-<time>-…`: five groups of hexadecimal digits name the telephone."""
    return f"baby-{'-'.join(path.stem.split('-')[:5]).lower()}"


def _keyboard(path: Path) -> str:
    """One folder a keyboard."""
    return f"keyboard-{_plain(path.parent.name)}"


def _soundscape(path: Path) -> str:
    """One forest a folder, beside single recordings."""
    return f"soundscape-{_plain(path.parent.name if path.parent.name != 'data' else path.stem)}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"


SOURCES_OF: dict[str, Callable[[Path], str]] = {
    "marc-moreaux/kitchen20": _kitchen,
    "remvze/moodist": _scene,
    "mateusfg7/Noisekun": _scene,
    "Muges/ambientsounds": _scene,
    "rafaelmardojai/blanket": _scene,
    "scikit-maad/scikit-maad": _soundscape,
    "JBFH-Dev/Keystroke-Datasets": _keyboard,
    "gveres/donateacry-corpus": _baby,
}

ALL_IN_TRAIN = ("keyboard", "soundscape")
"""Families with few sources."""

SAME_SCENE = {
    "coffee": "cafe",
    "coffee-shop": "cafe",
    "restaurant": "cafe",
    "air-plane": "airplane",
    "birds-tree": "birds",
    "boat": "rowing-boat",
    "fire": "fireplace",
    "campfire": "fireplace",
    "forest-rain": "rain",
    "light-rain": "rain",
    "night": "crickets",
    "summer-night": "crickets",
    "night-village": "crickets",
    "stream-water": "stream",
    "river": "stream",
    "storm": "thunderstorm",
    "thunder": "thunderstorm",
    "inside-a-train": "train",
    "drops": "droplets",
    "cave-drops": "droplets",
    "laundry-room": "washing-machine",
    "dryer": "washing-machine",
    "leaves": "wind-in-trees",
    "road": "busy-street",
}

TEST_SCENES = (
    "cafe",
    "office",
    "subway_station",
    "construction_site",
    "rain_on_tent",
    "ceiling_fan",
    "dog_barking",
    "clock",
    "windshield_wipers",
    "walk_in_snow",
    "busy_street",
)
VALID_SCENES = (
    "washing_machine",
    "howling_wind",
    "waterfall",
    "ambulance_siren",
    "boiling_water",
    "vinyl_effect",
    "highway",
    "library",
    "rowing_boat",
)
