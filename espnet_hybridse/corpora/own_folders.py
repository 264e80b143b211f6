"""Recordings of one's own: any folder tree of speech and of noise."""

from pathlib import Path

from espnet_hybridse.corpora.recordings import NO_TEXT, Recording
from espnet_hybridse.fileio.folders import find_audio


def find_folder_speech(folder: Path, lang: str) -> list[Recording]:
    """Speech under `folder`; a speaker is the first sub-folder, or the file's stem without one.

    `<stem>.txt` beside a file is its transcript; `lang` is an ISO code.
    """
    recordings = []
    for path in find_audio(folder):
        inner = path.relative_to(folder).parts
        transcript = path.with_suffix(".txt")
        text = NO_TEXT
        if transcript.is_file():
            text = " ".join(transcript.read_text(encoding="utf-8").split()) or NO_TEXT
        speaker = inner[0] if len(inner) > 1 else path.stem
        recordings.append(Recording(path, speaker.replace(" ", "_"), lang, text))
    return recordings


def find_folder_noise(folder: Path) -> list[Recording]:
    """Noise under `folder`, one family."""
    return [Recording(path, "noise") for path in find_audio(folder)]
