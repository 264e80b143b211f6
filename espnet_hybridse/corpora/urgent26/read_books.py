"""Audio books: LibriVox as in DNS5, LibriTTS, Multilingual LibriSpeech."""

import re
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.corpora.recordings import NO_TEXT
from espnet_hybridse.corpora.urgent26.corpus import Item, clean_uid
from espnet_hybridse.corpora.urgent26.splits import share_out

LIBRITTS_PARTS = {
    "train-clean-100": "train",
    "train-clean-360": "train",
    "dev-clean": "valid",
    "test-clean": "test",
}
MLS_LANGUAGES = {"german": "deu", "english": "eng", "spanish": "spa", "french": "fra"}
MLS_PARTS = {"train": "train", "train_track1": "train", "dev": "valid", "test": "test"}
DNS5_HELD_OUT = 90
"""Speakers of the challenge's validation set: the first in sorted order."""


def read_dns5_speech(root: Path) -> Iterator[Item]:
    """`book_00000_chp_0009_reader_06709_0_seg_2_seg1.wav` anywhere below `root`.

    Valid are the first 90 readers, the challenge's rule, and test the next 90 (ours).
    """
    paths = {}
    for path in sorted(root.rglob("book_*.wav")):
        reader = re.search(r"_reader_(\d+)_", path.name)
        # The challenge's scripts leave their resampled copies beside the originals.
        if reader and "resampled" not in path.relative_to(root).parts:
            paths[path] = f"dns5_reader_{reader.group(1)}"
    parts = share_out(paths.values(), DNS5_HELD_OUT, DNS5_HELD_OUT)
    for path, speaker in paths.items():
        yield Item(path.stem, path, parts[speaker], speaker, "eng")


def read_libritts(root: Path) -> Iterator[Item]:
    """`<part>/<speaker>/<chapter>/<uid>.wav` with `<uid>.normalized.txt` beside it."""
    for folder, part in LIBRITTS_PARTS.items():
        for path in sorted((root / folder).glob("*/*/*.wav")):
            text = read_text(path.with_suffix(".normalized.txt"))
            yield Item(path.stem, path, part, f"libritts_{path.parts[-3]}", "eng", text)


def read_mls(root: Path) -> Iterator[Item]:
    """`mls_<language>/<part>/audio/**/<speaker>_<book>_<number>.flac`, or .opus or .wav.

    `<language>_opus` and the challenge's less compressed copies (`<language>/train_track1`) are
    read too. `<part>/transcripts.txt` has `<name><TAB><words>` lines; it may be missing.
    """
    for language, lang in MLS_LANGUAGES.items():
        for name in (f"mls_{language}", f"mls_{language}_opus", language):
            for folder, part in MLS_PARTS.items():
                base = root / name / folder
                texts = read_table(base / "transcripts.txt")
                for path in sorted((base / "audio").rglob("*")):
                    if path.suffix in (".flac", ".opus", ".wav"):
                        speaker = f"mls_{language}_{path.stem.split('_')[0]}"
                        text = texts.get(path.stem, NO_TEXT)
                        yield Item(f"mls_{language}_{path.stem}", path, part, speaker, lang, text)


def read_text(path: Path) -> str:
    """The words of a transcript file on one line, or NO_TEXT where there are none."""
    if not path.is_file():
        return NO_TEXT
    return " ".join(path.read_text(encoding="utf-8", errors="replace").split()) or NO_TEXT


def read_table(path: Path) -> dict[str, str]:
    """`key<TAB>value` lines, or nothing where there is no such file."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.split("\t", 1) for line in lines if "\t" in line)
    return {clean_uid(key.strip()): " ".join(value.split()) or NO_TEXT for key, value in pairs}
