"""The mini recipe's speech: where each package keeps it, who speaks, and the set of each voice."""

import re
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.corpora.recordings import NO_TEXT, Recording

VOICES: dict[str, str] = {
    # Studio voices at 16 kHz. The English and the Spanish one belong to the same person.
    "asterisk-en": "train",
    "asterisk-es": "train",
    "asterisk-fr": "train",
    "festvox-ru": "train",
    "asterisk-ru": "valid",
    "asterisk-it": "test",
    # Volunteers, mostly at 44.1 kHz. Two voices of one language stay on one side, and so do
    # tuxpaint-be and ktuberling-ru, which speaker embeddings find to be one person.
    "tuxpaint-be": "train",
    "ktuberling-ru": "train",
    "tuxpaint-bg": "train",
    "tuxpaint-ca": "train",
    "ktuberling-ca": "train",
    "tuxpaint-en": "train",
    "tuxpaint-ro": "train",
    "ktuberling-ro": "train",
    "ktuberling-lt": "train",
    "ktuberling-uk": "train",
    "ktuberling-fi": "train",
    "tuxpaint-el": "valid",
    "ktuberling-el": "valid",
    "ktuberling-sl": "valid",
    "ktuberling-es": "valid",
    "tuxpaint-da": "test",
    "tuxpaint-fr": "test",
    "ktuberling-de": "test",
    "ktuberling-en": "test",
    "ktuberling-nn": "test",
    "ktuberling-it": "test",
    "ktuberling-pt": "test",
    # The only English with transcripts, and synthetic clips in nine languages.
    "librivox-en": "test",
    "cards-en": "test",
    "audioeval": "test",
}
"""Voice -> set, a fixed table so that results stay comparable (our choice).

Voices whose joined utterances average below 2.5 in DNSMOS P.835 overall are left out (tuxpaint-es,
tuxpaint-ru, ktuberling-sv), for an enhancer must not learn, or be measured on, noisy targets. Test
voices of more than a minute reach 2.7. Also out: tuxpaint-{lt,ml,nl} and ktuberling-{da,fr,ga,gl,
nds,nl,sr,wa}, which are noisy, tiny, or might be a test voice's second appearance.
"""


def find_speech(roots: dict[str, Path]) -> list[Recording]:
    """Every usable clip of the fetched packages (`roots`: package -> unpacked folder)."""
    found: list[Recording] = []
    for name, root in sorted(roots.items()):
        if name.startswith("asterisk-core-sounds-"):
            found += _asterisk(root, lang=name.split("-")[3])
        elif name in FINDERS:
            found += FINDERS[name](root)
    return [recording for recording in found if recording.speaker in VOICES]


def _asterisk(root: Path, lang: str) -> Iterator[Recording]:
    """Prompts of telephone menus; no transcripts. Beeps, silences and tones are no speech."""
    for path in root.rglob("*.g722"):
        beep = path.stem.startswith("beep") or "tone" in path.stem
        if not (beep or path.parent.name == "silence"):
            yield Recording(path, f"asterisk-{lang}", lang)


def _festvox(root: Path) -> Iterator[Recording]:
    """Read sentences with transcripts in which '+' marks the stress."""
    for prompts in root.rglob("etc/txt.done.data"):
        pairs = re.findall(r'\(\s*(\S+)\s+"(.*)"\s*\)', prompts.read_text(encoding="utf-8"))
        texts = {uid: text.replace("+", "") for uid, text in pairs}
        for path in (prompts.parents[1] / "wav").glob("*.wav"):
            yield Recording(path, "festvox-ru", "ru", texts.get(path.stem, NO_TEXT))


def _tuxpaint(root: Path) -> Iterator[Recording]:
    """Spoken captions of drawings; <drawing>.txt has the caption in every language."""
    captions: dict[Path, dict[str, str]] = {}
    for path in (root / "usr/share/tuxpaint/stamps").rglob("*_desc*.ogg"):
        drawing, _, lang = path.name.split(".")[0].rpartition("_desc")
        source = path.with_name(f"{drawing}.txt")
        if source not in captions:
            captions[source] = _captions(source)
        lang = lang.lstrip("_") or "en"
        text = captions[source].get(lang, NO_TEXT)
        yield Recording(path, f"tuxpaint-{lang}", lang, text)


def _captions(path: Path) -> dict[str, str]:
    """Captions by language: the first line is English, then `<lang>.utf8=<caption>`."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = {"en": lines[0].strip()} if lines and lines[0].strip() else {}
    for line in lines[1:]:
        lang, _, caption = line.partition(".utf8=")
        if caption.strip():
            found[lang] = caption.strip()
    return found


def _ktuberling(root: Path) -> Iterator[Recording]:
    """Names of things, one a file; the English files are named after what is said."""
    for folder in (root / "usr/share/ktuberling/sounds").iterdir():
        for path in folder.iterdir() if folder.is_dir() else ():
            text = path.stem.replace("_", " ") if folder.name == "en" else NO_TEXT
            yield Recording(path, f"ktuberling-{folder.name}", folder.name, text)


def _pocketsphinx(root: Path) -> Iterator[Recording]:
    """Five sentences of an audio book and five spoken playing cards, with transcripts."""
    for folder, prompts in (("librivox", "transcription"), ("cards", "cards.transcription")):
        for source in root.rglob(f"{folder}/{prompts}"):
            pairs = re.findall(r"<s>\s*(.*?)\s*</s>\s*\((.*?)\)", source.read_text())
            for text, uid in pairs:
                yield Recording(source.with_name(f"{uid}.wav"), f"{folder}-en", "en", text)


def _audioeval(root: Path) -> Iterator[Recording]:
    """Synthetic clips with transcripts; one system's voices, so they count as one speaker."""
    for path in root.rglob("samples/audio/*/*.wav"):
        text = path.with_suffix(".txt").read_text(encoding="utf-8").strip()
        yield Recording(path, "audioeval", path.parent.name, text)


FINDERS = {
    "festvox-ru": _festvox,
    "tuxpaint-stamps-default": _tuxpaint,
    "ktuberling-data": _ktuberling,
    "pocketsphinx-testdata": _pocketsphinx,
    "pytest-audioeval": _audioeval,
}
