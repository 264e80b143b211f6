"""Who speaks what in each repository of speech, and which set each voice belongs to."""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from espnet_hybridse.corpora.open.fetch import Fetched
from espnet_hybridse.corpora.recordings import NO_TEXT, Recording


@dataclass(frozen=True)
class Voices:
    """Recordings of one repository and how they are to be used.

    max_seconds: most speech of one voice that is used for training
    best_seconds: most that is kept after the utterances were judged, the best first
    join: short clips of one voice are joined to utterances; not where `speaker` stands for many
    sets: set of named voices; the others are dealt out, see :func:`voice_set`
    valid, test: voices out of 1000 that go to these sets, of those that `sets` does not name
    """

    find: Callable[[Fetched], Iterable[Recording]]
    max_seconds: float = 3600.0
    best_seconds: float = float("inf")
    join: bool = True
    sets: dict[str, str] = field(default_factory=dict)
    valid: int = 0
    test: int = 0


def find_voices(fetched: Fetched) -> list[Recording]:
    """Every recording of a repository of speech, with its speaker, language and text."""
    return list(VOICES[fetched.source.name].find(fetched))


def voice_set(repository: str, speaker: str) -> str:
    """The set of a voice: by the table, else by a hash of its name, which never changes."""
    voices = VOICES[repository]
    if speaker in voices.sets:
        return voices.sets[speaker]
    place = zlib.crc32(speaker.encode()) % 1000
    if place < voices.valid:
        return "valid"
    return "test" if place < voices.valid + voices.test else "train"


def _librispeech(fetched: Fetched) -> Iterator[Recording]:
    """One sentence a speaker; <speaker>-<chapter>-<sentence>.flac."""
    for path in fetched.audio:
        yield Recording(path, f"librispeech-{path.name.split('-')[0]}", "en")


def _speechocean(fetched: Fetched) -> Iterator[Recording]:
    """English sentences read by Mandarin speakers, half of them children, with transcripts."""
    texts: dict[str, str] = {}
    for part in ("train", "test"):
        for line in _lines(fetched.root / part / "text"):
            uid, _, text = line.partition("\t")
            texts[uid] = " ".join(text.lower().split())
    for path in fetched.audio:
        speaker = path.parent.name.removeprefix("SPEAKER")
        yield Recording(path, f"speechocean-{speaker}", "en", texts.get(path.stem) or NO_TEXT)


def _picovoice_commands(fetched: Fetched) -> Iterator[Recording]:
    """Spoken orders of more than 50 people, who are not told apart: all in one set."""
    for path in fetched.audio:
        yield Recording(path, "picovoice-commands", "en")


def _picovoice_words(fetched: Fetched) -> Iterator[Recording]:
    """Wake words of more than 50 people, who are not told apart; the folder is what is said."""
    for path in fetched.audio:
        yield Recording(path, "picovoice-words", "en", path.parent.name)


def _kathleen(fetched: Fetched) -> Iterator[Recording]:
    """CMU Arctic's sentences; a transcript beside each."""
    for path in fetched.audio:
        text = " ".join(_lines(path.with_suffix(".txt"))).strip()
        yield Recording(path, "kathleen-en", "en", text or NO_TEXT)


def _metadata(speaker: str, lang: str) -> Callable[[Fetched], Iterator[Recording]]:
    """Recordings with `stem|text` lines in metadata.csv."""

    def find(fetched: Fetched) -> Iterator[Recording]:
        rows = (line.split("|") for line in _lines(fetched.root / "verified/metadata.csv"))
        texts = {row[0]: row[-1].strip() for row in rows if len(row) > 1}
        for path in fetched.audio:
            yield Recording(path, speaker, lang, texts.get(path.stem) or NO_TEXT)

    return find


def _audio_cmn(fetched: Fetched) -> Iterator[Recording]:
    """Mandarin words (named by their characters) of one voice, syllables (in pinyin) of another."""
    for path in fetched.audio:
        said = path.stem.removeprefix("cmn-")
        if re.fullmatch(r"[\u4e00-\u9fff]+", said):
            yield Recording(path, "cmn-tan", "zh", said)
        elif path.parent.name == "syllabs":
            yield Recording(path, "cmn-wang", "zh")


def _lines(path: Path) -> list[str]:
    """Lines of a text file, or none where there is no such file."""
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


VOICES: dict[str, Voices] = {
    "resemble-ai/Resemblyzer": Voices(_librispeech, valid=50, test=60),
    "jimbozhang/speechocean762": Voices(_speechocean, 40.0, valid=50, test=80),
    "Picovoice/speech-to-intent-benchmark": Voices(_picovoice_commands, 7200.0, join=False),
    "Picovoice/wake-word-benchmark": Voices(_picovoice_words, 7200.0, 2700.0, join=False),
    "rhasspy/dataset-voice-kathleen": Voices(_kathleen, 5400.0),
    "rhasspy/dataset-voice-nathalie": Voices(
        _metadata("nathalie-nl", "nl"), sets={"nathalie-nl": "test"}
    ),
    "rhasspy/dataset-voice-kerstin": Voices(_metadata("kerstin-de", "de"), 2400.0),
    "hugolpz/audio-cmn": Voices(_audio_cmn, 1200.0, sets={"cmn-wang": "test"}),
}
"""Repository -> its voices. The two full-band voices that no one else resembles are divided
between training (Kathleen) and testing (Nathalie, Wang); our choice."""
