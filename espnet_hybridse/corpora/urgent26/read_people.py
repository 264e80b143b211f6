"""Voices of many people at home: CommonVoice, NNCES (children), SeniorTalk (the elderly)."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.corpora.recordings import NO_TEXT
from espnet_hybridse.corpora.urgent26.corpus import Item, clean_uid

COMMONVOICE_LANGUAGES = {"de": "deu", "en": "eng", "es": "spa", "fr": "fra", "zh-CN": "zho"}
COMMONVOICE_PARTS = {"train": "train", "dev": "valid", "test": "test"}
NNCES_HALVES = {"Read_Speech_Data": "read", "Spontaneous_Speech_Data": "spontaneous"}
SENIORTALK_PARTS = {"train": "train", "dev": "valid", "test": "test"}


def read_commonvoice(root: Path) -> Iterator[Item]:
    """`<language>/{train,dev,test}.tsv` and `<language>/clips/<path>`.

    The challenge's extractor spreads the clips over folders below `clips`: those are found too.
    The challenge has no English validation; ours has. A clip that a table names and that is not
    there is passed on: it lands in the quarantine.
    """
    for language, lang in COMMONVOICE_LANGUAGES.items():
        clips = root / language / "clips"
        spread = None
        for table, part in COMMONVOICE_PARTS.items():
            path = root / language / f"{table}.tsv"
            if not path.is_file():
                continue
            with open(path, encoding="utf-8", newline="") as handle:
                for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE):
                    clip = clips / row["path"]
                    if not clip.is_file():
                        if spread is None:
                            spread = {found.name: found for found in clips.rglob("*.mp3")}
                        clip = spread.get(clip.name, clip)
                    text = " ".join((row.get("sentence") or "").split()) or NO_TEXT
                    speaker = f"cv_{row['client_id'][:32]}"
                    yield Item(clip.stem, clip, part, speaker, lang, text)


def read_nnces(root: Path) -> Iterator[Item]:
    """`<half>/<half>/<age>Y/<Boys|Girls>_<age>/<child>/<child>_<session>/<name>.wav`.

    Nothing is written down of what is said. All of it is train, as in the challenge.
    """
    for folder, half in NNCES_HALVES.items():
        for path in sorted((root / folder).rglob("*.wav")):
            session, child = path.parent.name, path.parent.parent.name
            uid = clean_uid(f"nnces_{half}_{session}_{path.stem}")
            yield Item(uid, path, "train", clean_uid(f"nnces_{child}"), "eng")


def read_seniortalk(root: Path) -> Iterator[Item]:
    """`sentence_data/wav/<part>/**/Elderly0122S0001W0026.wav`, unpacked from its tar files.

    A file of the same name below `sentence_data/transcript` has the words, after the last tab of
    its line where there are several columns. The challenge trains on train and validates on none
    of it; its dev and test have other speakers and are ours.
    """
    base = root / "sentence_data"
    texts = {path.stem: path for path in (base / "transcript").rglob("*.txt")}
    for folder, part in SENIORTALK_PARTS.items():
        for path in sorted((base / "wav" / folder).rglob("*.wav")):
            speaker = re.sub(r"W\d+$", "", path.stem)
            text = _last_column(texts.get(path.stem))
            yield Item(path.stem, path, part, f"seniortalk_{speaker}", "zho", text)


def _last_column(path: Path | None) -> str:
    """The words of a transcript, without what stands in columns before them."""
    if path is None:
        return NO_TEXT
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return " ".join(" ".join(line.split("\t")[-1] for line in lines).split()) or NO_TEXT
