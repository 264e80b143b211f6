"""Chosen utterances: spectrograms of every signal, players, scores."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_hybridse.fileio.audio import BadAudio, read_audio, write_audio
from espnet_hybridse.fileio.lists import PathLike
from espnet_hybridse.fileio.pictures import plot_utterance
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.report.figures import Figure, data_uri
from espnet_hybridse.scoring.inputs import scored_audio
from espnet_hybridse.scoring.table import System, settings

CLEAN = "Clean"


@dataclass(frozen=True)
class Player:
    """One signal to listen to."""

    name: str
    uri: str
    label: str


@dataclass(frozen=True)
class Shown:
    """One utterance on the page."""

    uid: str
    anchor: str
    facts: str
    figure: Figure
    players: list[Player]
    scores: Table


def signals(out_dirs: Mapping[str, PathLike]) -> dict[str, dict[str, str]]:
    """Name -> uid -> file: what each system was scored on, and the clean references."""
    lists: dict[str, dict[str, str]] = {}
    clean: dict[str, str] = {}
    for name, out_dir in out_dirs.items():
        lists[name], references = scored_audio(settings(out_dir))
        clean.update(references)
    return {**lists, CLEAN: clean} if clean else lists


def show_utterance(
    uid: str,
    files: Mapping[str, Mapping[str, str]],
    systems: Sequence[System],
    columns: Sequence[str],
    facts: str,
    folder: Path,
    listen: bool,
    number: int = 0,
    keep: Path | None = None,
) -> Shown | None:
    """None when not one of its signals can be read.

    Args:
        files: from `signals`.
        facts: language, distortions, … in a few words.
        folder: for the pictures and sounds before they go into the page.
        listen: with players.
        number: of the test set.
        keep: PNG to write the spectrograms to as well.
    """
    players, found = [], {}
    fs = 0
    for name, table in files.items():
        if uid not in table:
            continue
        try:
            wav, fs = read_audio(table[uid])
        except BadAudio as error:
            logging.warning("%s of %s is not shown: %s", name, uid, error)
            continue
        path = folder / "sound.flac"
        write_audio(path, wav, fs)
        found[name] = table[uid]
        if listen:
            label = f"{name}, utterance {uid}, {wav.size / fs:.1f} seconds"
            players.append(Player(name, data_uri(path), label))
    if not found:
        return None
    picture = folder / "spectrograms.webp"
    plot_utterance(found, uid, picture)
    if keep is not None:
        plot_utterance(found, uid, keep)
    alt = f"Spectrograms of {uid} at {fs} Hz from top to bottom: {', '.join(found)}"
    rows = []
    for system in systems:
        scores = system.rows.get(uid, {}).get("scores", {})
        values = [scores.get(column) for column in columns]
        rows.append([system.name, *("–" if v is None else f"{v:.2f}" for v in values)])
    return Shown(
        uid,
        anchor(uid, number),
        ", ".join(part for part in (facts, f"{fs} Hz") if part),
        Figure(data_uri(picture), alt, f"{', '.join(found)}, 80 dB", wide=False),
        players,
        Table(["System", *columns], rows),
    )


def anchor(uid: str, number: int = 0) -> str:
    """A name for links within the page; test sets may share utterances."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in uid)
    return f"utt{number or ''}-{name}"
