"""Noise: DNS5 (AudioSet and Freesound), WHAM!, FSD50K, the Free Music Archive, own wind."""

import csv
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.corpora.urgent26.corpus import Item, clean_uid
from espnet_hybridse.corpora.urgent26.splits import eighths
from espnet_hybridse.fileio.folders import walk
from espnet_hybridse.fileio.formats import AUDIO_SUFFIXES

WHAM_PARTS = {"Train": "train", "Valid": "valid", "Test": "test"}
FSD50K_PARTS = {"train": "train", "val": "valid"}
FMA_PARTS = {"training": "train", "validation": "valid", "test": "test"}
HUMAN_VOICE = {"Human_voice", "Speech", "Singing"}
"""FSD50K names every parent of a label too, so that the first stands for all voices."""


def read_dns5_noise(root: Path) -> Iterator[Item]:
    """`**/<name>.wav`; the first eighth by name is held out, as in the challenge."""
    yield from _held_out(root, "dns5_noise", (".wav",))


def read_wind(root: Path) -> Iterator[Item]:
    """Own recordings or simulations of wind, any folders; an eighth is held out (ours)."""
    yield from _held_out(root, "wind", AUDIO_SUFFIXES)


def _held_out(root: Path, prefix: str, suffixes: tuple[str, ...]) -> Iterator[Item]:
    found = {}
    for path in sorted(walk(root)):
        inner = path.relative_to(root).with_suffix("").parts
        if path.suffix.lower() in suffixes and "resampled" not in inner:
            found[clean_uid("_".join((prefix, *inner)))] = path
    parts = eighths(found)
    for uid, path in found.items():
        yield Item(uid, path, parts[uid])


def read_wham(root: Path) -> Iterator[Item]:
    """`audio/<Filename>`; high_res_metadata.csv says in `WHAM! Split` where each belongs."""
    for row in _rows(root / "high_res_metadata.csv"):
        path = root / "audio" / row["Filename"]
        part = WHAM_PARTS.get(row["WHAM! Split"])
        if part:
            yield Item(f"wham_{path.stem}", path, part)


def read_fsd50k(root: Path) -> Iterator[Item]:
    """`FSD50K.dev_audio/<fname>.wav`, split by FSD50K.ground_truth/dev.csv; no human voices.

    FSD50K.eval_audio is test, where it is there (ours).
    """
    for table in ("dev", "eval"):
        path = root / "FSD50K.ground_truth" / f"{table}.csv"
        audio = root / f"FSD50K.{table}_audio"
        if not path.is_file() or not audio.is_dir():
            continue
        for row in _rows(path):
            if HUMAN_VOICE.isdisjoint(row["labels"].split(",")):
                part = FSD50K_PARTS.get(row.get("split") or "", "test")
                yield Item(f"fsd50k_{row['fname']}", audio / f"{row['fname']}.wav", part)


def read_fma(root: Path) -> Iterator[Item]:
    """`fma_medium/000/000002.mp3`, split by the column set, split of fma_metadata/tracks.csv.

    Its header has two lines of names and one of the index.
    """
    table = root / "fma_metadata" / "tracks.csv"
    with open(table, encoding="utf-8", newline="") as handle:
        rows = csv.reader(handle)
        names = list(zip(next(rows), next(rows), strict=True))
        if ("set", "split") not in names:
            raise ValueError(f"{table}: no column set, split in its first two lines")
        column = names.index(("set", "split"))
        parts = {
            int(row[0]): FMA_PARTS.get(row[column], "train")
            for row in rows
            if row and row[0].isdigit()
        }
    for path in sorted((root / "fma_medium").glob("*/*.mp3")):
        if path.stem.isdigit() and int(path.stem) in parts:
            yield Item(f"fma_{path.stem}", path, parts[int(path.stem)])


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table with a header."""
    if not path.is_file():
        raise ValueError(f"{path}: missing; it comes with the corpus and says which file is what")
    with open(path, encoding="utf-8-sig", newline="") as handle:
        return list(csv.DictReader(handle))
