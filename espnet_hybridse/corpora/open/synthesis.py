"""Synthetic speech: which voice says which sentence, made once and kept."""

import re
import zlib
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_hybridse.corpora.mini.debian_packages import Package, fetch
from espnet_hybridse.corpora.open.kokoro import ESPEAK_VOICES, FS, Kokoro, fetch_voices
from espnet_hybridse.corpora.recordings import trim
from espnet_hybridse.corpora.utterances import Utterance
from espnet_hybridse.fileio.audio import read_audio, write_audio

TEXTS = {
    "en": Package("fortunes", "BSD-like", "sentences"),
    "es": Package("fortunes-es", "GPL-2+", "sentences"),
    "it": Package("fortunes-it", "GPL-2+", "sentences"),
    "pt": Package("fortunes-br", "GPL-2+", "sentences"),
}
"""Language -> Debian's package of proverbs and quotations."""

CAPTIONS = Package("tuxpaint-stamps-default", "GPL-2", "captions")
"""Captions of drawings in further languages: French and Hindi."""

SETS = {
    "valid": ("af_kore", "am_liam", "bf_alice", "hf_beta", "pm_santa"),
    "test": ("af_nova", "am_eric", "bf_lily", "bm_lewis", "ef_dora", "if_sara", "hm_psi"),
}
"""Voices that are not in train; none of them is part of a mixed voice."""

HELD_OUT_SHARE = 0.05
"""Of the hours, for valid and for test each, at most HELD_OUT_HOURS."""

HELD_OUT_HOURS = 0.06
SPEED = (0.85, 1.15)
LETTERS = (20, 140)
SECONDS_A_LETTER = 0.07
"""Rough length of speech, to plan as many sentences as the hours ask for."""


@dataclass(frozen=True)
class Line:
    """One sentence to be said."""

    uid: str
    set: str
    voice: str
    speed: float
    lang: str
    text: str


def plan(downloads: Path, hours: float, seed: int) -> list[Line]:
    """The sentences of `hours` of speech in all; more hours add lines, and change none.

    Each voice takes its turn; a language's sentences come in an order of their own, and a sentence
    belongs to one set.
    """
    voices = sorted(path.stem for path in fetch_voices(downloads).glob("*.bin"))
    sentences = find_sentences(downloads)
    held_out = min(HELD_OUT_SHARE * hours, HELD_OUT_HOURS)
    lines = []
    for name, share in (("train", hours - 2 * held_out), ("valid", held_out), ("test", held_out)):
        lines += _plan_set(name, voices_of(name, voices), sentences, share, seed)
    return lines


def _plan_set(
    name: str, voices: list[str], sentences: dict[str, list[str]], hours: float, seed: int
) -> Iterator[Line]:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    waiting = {
        lang: iter(_shuffled([text for text in texts if sentence_set(text) == name], rng))
        for lang, texts in sorted(sentences.items())
    }
    seconds, number = 0.0, 0
    while seconds < 3600 * hours and waiting:
        voice = voices[number % len(voices)]
        number += 1
        lang = ESPEAK_VOICES[voice[0]][0]
        speed = round(float(rng.uniform(*SPEED)), 3)
        text = next(waiting.get(lang, iter(())), None)
        if text is None:
            waiting.pop(lang, None)
            if not any(ESPEAK_VOICES[other[0]][0] in waiting for other in voices):
                return
            continue
        seconds += SECONDS_A_LETTER * len(text) / speed
        spoken_by = voice.replace("+", "-")
        yield Line(f"kokoro-{spoken_by}-{number:05d}", name, voice, speed, lang, text)


def voices_of(name: str, voices: list[str]) -> list[str]:
    """Voices of a set, in the order of their turns.

    In train the means of two voices of one language and sex take every second turn.
    """
    usable = [voice for voice in voices if voice[0] in ESPEAK_VOICES]
    if name != "train":
        return [voice for voice in usable if voice in SETS[name]]
    held_out = {voice for members in SETS.values() for voice in members}
    plain = [voice for voice in usable if voice not in held_out]
    mixed = [f"{a}+{b}" for a, b in combinations(plain, 2) if a[:2] == b[:2]]
    turns = []
    for start in range(0, len(mixed), len(plain)):  # as many plain ones as mixed ones
        turns += plain + mixed[start : start + len(plain)]
    return turns


def sentence_set(text: str) -> str:
    """A hash of the sentence decides, so that no set shares one with another."""
    place = zlib.crc32(text.lower().encode()) % 20
    return "valid" if place == 0 else "test" if place == 1 else "train"


def find_sentences(downloads: Path) -> dict[str, list[str]]:
    """Language -> sentences that can be read aloud as they are."""
    found: dict[str, set[str]] = {}
    for lang, package in TEXTS.items():
        for path in sorted(fetch(package, downloads).glob("usr/share/games/fortunes/**/*")):
            if path.is_file() and path.suffix in ("", ".fortunes") and not path.is_symlink():
                found.setdefault(lang, set()).update(
                    _sentences(path.read_text(encoding="utf-8", errors="ignore"))
                )
    pattern = re.compile(r"^(fr|hi)\.utf8=(.*)$", re.MULTILINE)
    for path in fetch(CAPTIONS, downloads).rglob("stamps/**/*.txt"):
        for lang, caption in pattern.findall(path.read_text(encoding="utf-8", errors="ignore")):
            caption = caption.strip(" |\r")
            if LETTERS[0] // 2 <= len(caption) <= LETTERS[1] and not re.search(r"\d", caption):
                found.setdefault(lang, set()).add(caption)
    return {lang: sorted(texts) for lang, texts in found.items()}


def _sentences(text: str) -> Iterator[str]:
    """Sentences without digits, capitals in a row, brackets and other signs."""
    for fortune in text.split("\n%"):
        prose = re.split(r"\n\s*--", fortune)[0]
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(prose.split())):
            plain = re.fullmatch(r"[^\W\d_]+(?:[ ',;-]+[^\W\d_]+|[ ])*[.!?]", sentence)
            if plain and LETTERS[0] <= len(sentence) <= LETTERS[1]:
                if not re.search(r"[A-Z]{2}", sentence):
                    yield sentence


def _shuffled(texts: list[str], rng: np.random.Generator) -> list[str]:
    return [texts[index] for index in rng.permutation(len(texts))]


def synthesize(
    downloads: Path, out: Path, hours: float, seed: int, pool: Executor
) -> dict[str, list[Utterance]]:
    """Utterances of about `hours` of synthetic speech in all: set -> voice by voice.

    Files that are there are kept, so that a run that was cut off, or that wants more hours, says
    only what is missing.

    Raises:
        FetchError: a package cannot be had.
    """
    lines = plan(downloads, hours, seed)
    jobs = [pool.submit(say, downloads, out, line) for line in lines]
    sets: dict[str, list[Utterance]] = {}
    for line, job in tqdm(zip(lines, jobs, strict=True), "synthesis", len(lines)):
        utterance = job.result()
        if utterance is not None:
            sets.setdefault(line.set, []).append(utterance)
    return sets


def say(downloads: Path, out: Path, line: Line) -> Utterance | None:
    """Say one line to a file; None where the network says nothing or the text cannot be read."""
    path = out / line.voice.replace("+", "-") / f"{line.uid}.flac"
    if path.is_file():
        wav, _ = read_audio(path)
    else:
        try:
            wav = trim(_kokoro(downloads).speak(line.text, line.voice, line.speed), FS)
        except ValueError:
            return None
        write_audio(path, wav, FS)
    speaker = f"kokoro-{line.voice.replace('+', '-')}"
    return Utterance(
        line.uid,
        str(path.resolve()),
        FS,
        wav.size / FS,
        speaker,
        line.lang,
        line.text,
        (line.text,),
    )


@lru_cache(maxsize=1)
def _kokoro(downloads: Path) -> Kokoro:
    return Kokoro(downloads)
