"""The mini recipe's own recordings as a part of the open corpus; its test set never."""

import logging
from pathlib import Path

from espnet_hybridse.corpora.mini.debian_packages import FetchError, fetch_all
from espnet_hybridse.corpora.mini.noise import find_noise, split_recordings
from espnet_hybridse.corpora.mini.speech import VOICES, find_speech
from espnet_hybridse.corpora.recordings import Recording

MAX_SECONDS = {"train": 420.0, "valid": 60.0}
MIN_DNSMOS = 2.4
"""Laxer than for the other sources (our choice): most voices above 24 kHz are among these."""


def mini_roots(downloads: Path) -> dict[str, Path]:
    """Unpacked packages of the mini recipe, or none, with a warning, where apt gives nothing."""
    try:
        return fetch_all(downloads)
    except FetchError as error:
        logging.warning("the mini recipe's recordings are left out: %s", error)
        return {}


def mini_voices(roots: dict[str, Path]) -> dict[str, tuple[str, list[Recording]]]:
    """Speaker -> its set, train or valid, and recordings."""
    voices: dict[str, tuple[str, list[Recording]]] = {}
    for recording in find_speech(roots):
        name = VOICES[recording.speaker]
        if name != "test":
            voices.setdefault(recording.speaker, (name, []))[1].append(recording)
    return voices


def mini_noise(roots: dict[str, Path]) -> dict[tuple[str, str], list[Recording]]:
    """(set, family) -> recordings of train and valid."""
    return {
        (name, family): recordings
        for name, families in split_recordings(find_noise(roots)).items()
        for family, recordings in families.items()
        if name != "test" and recordings
    }
