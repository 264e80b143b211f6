"""Voices recorded for the purpose: VCTK, EARS, VocalSet, ESD."""

import json
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.corpora.recordings import NO_TEXT
from espnet_hybridse.corpora.urgent26.corpus import Item, clean_uid
from espnet_hybridse.corpora.urgent26.read_books import read_text

VCTK_PARTS = {"p226": "valid", "p287": "valid", "p315": "valid", "p232": "test", "p257": "test"}
"""The challenge validates on the first three and leaves the last two out: they test (ours)."""

EARS_VALID = ("p100", "p101")
EARS_TEST = ("p102", "p103", "p104", "p105", "p106", "p107")
EARS_NO_SPEECH = ("interjection", "melodic", "nonverbal", "vegetative")
"""Recordings that the authors of EARS, and the challenge, leave out."""

ESD_CHINESE = range(1, 11)


def read_vctk(root: Path) -> Iterator[Item]:
    """`wav48_silence_trimmed/<speaker>/<uid>_mic1.flac` and `txt/<speaker>/<uid>.txt`.

    Both microphones are taken, as in the challenge. Speaker p315 has no texts.
    """
    for path in sorted((root / "wav48_silence_trimmed").glob("*/*.flac")):
        speaker = path.parent.name
        text = read_text(root / "txt" / speaker / f"{path.stem.rpartition('_mic')[0]}.txt")
        part = VCTK_PARTS.get(speaker, "train")
        yield Item(path.stem, path, part, f"vctk_{speaker}", "eng", text)


def read_ears(root: Path) -> Iterator[Item]:
    """`p001/<what>.wav`; `transcripts.json` of EARS's repository may lie in `root` or below it.

    Valid are p100 and p101, as in EARS and the challenge, test is EARS's p102 to p107.
    """
    found = next(iter(sorted(root.glob("**/transcripts.json"))), None)
    texts = json.loads(found.read_text(encoding="utf-8")) if found else {}
    for path in sorted(root.glob("p[0-9]*/*.wav")):
        speaker = path.parent.name
        if any(word in path.stem for word in EARS_NO_SPEECH):
            continue
        part = "valid" if speaker in EARS_VALID else "test" if speaker in EARS_TEST else "train"
        text = " ".join(texts.get(path.stem, NO_TEXT).split())
        yield Item(f"{speaker}_{path.stem}", path, part, f"ears_{speaker}", "eng", text)


def read_vocalset(root: Path) -> Iterator[Item]:
    """`FULL/<singer>/<context>/<technique>/<name>.wav`, singing without words written down.

    All of it is train, as in the challenge.
    """
    for path in sorted((root / "FULL").glob("*/**/*.wav")):
        singer = path.relative_to(root / "FULL").parts[0]
        uid = clean_uid(f"vocalset_{singer}_{path.stem}")
        yield Item(uid, path, "train", f"vocalset_{singer}")


def read_esd(root: Path) -> Iterator[Item]:
    """`<speaker>/<emotion>/[<part>/]<speaker>_<number>.wav`, `<speaker>/<speaker>.txt`.

    Speakers 0001 to 0010 speak Mandarin, 0011 to 0020 English. All of it is train, as in the
    challenge: its parts share their speakers.
    """
    for folder in sorted(root.glob("[0-9][0-9][0-9][0-9]")):
        texts = _esd_texts(folder / f"{folder.name}.txt")
        lang = "zho" if int(folder.name) in ESD_CHINESE else "eng"
        for path in sorted(folder.rglob("*.wav")):
            text = texts.get(path.stem, NO_TEXT)
            yield Item(f"esd_{path.stem}", path, "train", f"esd_{folder.name}", lang, text)


def _esd_texts(path: Path) -> dict[str, str]:
    """`<name><TAB><words><TAB><emotion>` lines, in whichever encoding a speaker's file has."""
    if not path.is_file():
        return {}
    content = path.read_bytes()
    try:
        # Without its mark, UTF-16 would read anything of even length.
        marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeError:
        text = content.decode("gb18030", errors="replace")
    rows = (line.strip().split("\t") for line in text.splitlines())
    return {row[0]: " ".join(row[1].split()) or NO_TEXT for row in rows if len(row) > 1}
