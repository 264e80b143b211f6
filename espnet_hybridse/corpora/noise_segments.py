"""Noise recordings brought to pieces of 5-15 s: long ones cut, short ones strung together."""

import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_hybridse.corpora.recordings import Recording, decode, trim
from espnet_hybridse.fileio.audio import BadAudio, write_audio
from espnet_hybridse.fileio.lists import write_json

PIECE_SECONDS = 15.0
SHORT_SECONDS = 5.0
STRING_SECONDS = 10.0
GAP_SECONDS = (0.0, 0.4)
BABBLE_VOICES = 4

Pieces = dict[str, tuple[int, str]]
"""uid -> (fs in Hz, absolute path)"""


def make_pieces(
    name: str,
    recordings: Sequence[Recording],
    out: Path,
    seed: int,
    max_seconds: float = float("inf"),
) -> tuple[Pieces, list[tuple[str, str, str]]]:
    """Write one family's noise of one set to out/<name>/*.flac at the recordings' own rates.

    Files over 15 s are cut, files under 5 s are strung together to 10 s with gaps of up to 0.4 s
    (our choice: a drum hit repeated ten times a second is no noise anyone meets). For `babble`
    four strings of acted dialogue are summed at equal level, because one competing voice would
    leave open which voice is the target. Of one recording at most `max_seconds` are used. A
    finished family leaves a manifest and is not redone.

    Returns:
        The pieces, and `(uid, path, reason)` of every file that could not be used.
    """
    manifest = out / f"{name}.json"
    limit = [max_seconds] if max_seconds < float("inf") else []
    identity = json.dumps([[str(r.path) for r in recordings], seed, *limit])
    digest = hashlib.sha256(identity.encode()).hexdigest()
    if manifest.is_file():
        done = json.loads(manifest.read_text(encoding="utf-8"))
        pieces = {uid: (fs, path) for uid, (fs, path) in done["pieces"].items()}
        if done["digest"] == digest and all(Path(path).is_file() for _, path in pieces.values()):
            return pieces, [tuple(row) for row in done["bad"]]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    bad: list[tuple[str, str, str]] = []
    waves = _waves(recordings, bad, rng, max_seconds)
    if name.endswith("babble"):
        waves = _babble(waves)
    pieces: Pieces = {}
    for fs, wav in waves:
        uid = f"{name}-{len(pieces):04d}"
        path = out / name / f"{uid}.flac"
        write_audio(path, 0.9 * wav / np.abs(wav).max(), fs)
        pieces[uid] = (fs, str(path.resolve()))
    write_json(manifest, {"digest": digest, "pieces": pieces, "bad": bad})
    return pieces, bad


def _waves(
    recordings, bad, rng: np.random.Generator, max_seconds: float = float("inf")
) -> list[tuple[int, np.ndarray]]:
    """Pieces (fs, (T,)) of `recordings`; unusable files are added to `bad`."""
    waves: list[tuple[int, np.ndarray]] = []
    strings: dict[int, list[np.ndarray]] = {}
    for recording in recordings:
        try:
            wav, fs = decode(recording.path)
            wav = trim(wav[: int(min(max_seconds * fs, wav.size))], fs, below_peak_db=50.0)
        except BadAudio as error:
            bad.append((recording.path.stem, str(recording.path), str(error)))
            continue
        if wav.size >= SHORT_SECONDS * fs:
            count = -(-wav.size // int(PIECE_SECONDS * fs))
            parts = np.array_split(wav, count)
            waves += [(fs, part) for part in parts if np.abs(part).max() > 1e-3]
            continue
        string = strings.setdefault(fs, [])
        # One loud clip must not hide the others of its string.
        string += [wav / np.abs(wav).max(), np.zeros(int(rng.uniform(*GAP_SECONDS) * fs))]
        if sum(part.size for part in string) >= STRING_SECONDS * fs:
            waves.append((fs, np.concatenate(strings.pop(fs)).astype(np.float32)))
    for fs, string in strings.items():
        waves.append((fs, np.concatenate(string).astype(np.float32)))
    return waves


def _babble(waves: list[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    """Sums of BABBLE_VOICES waves of one rate at equal RMS, cut to the shortest."""
    rates: dict[int, list[np.ndarray]] = {}
    for fs, wav in waves:
        if wav.size >= SHORT_SECONDS * fs:
            rates.setdefault(fs, []).append(wav / np.sqrt(np.mean(wav**2)))
    sums = []
    for fs, voices in rates.items():
        for start in range(0, len(voices) - BABBLE_VOICES + 1, BABBLE_VOICES):
            chosen = voices[start : start + BABBLE_VOICES]
            length = min(voice.size for voice in chosen)
            sums.append((fs, sum(voice[:length] for voice in chosen)))
    return sums
