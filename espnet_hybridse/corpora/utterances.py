"""Short clips of one speaker joined into utterances of sentence length."""

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.corpora.recordings import NO_TEXT, Recording, decode, snr_db, trim
from espnet_hybridse.fileio.audio import BadAudio, write_audio
from espnet_hybridse.fileio.lists import write_json

MIN_SECONDS, MAX_SECONDS = 2.0, 15.0
JOIN_SECONDS = (3.0, 6.5)
PAUSE_SECONDS = (0.15, 0.3)
MIN_SNR_DB = 20.0
"""Clips with less are no clean target (our choice; see `snr_db`)."""


@dataclass(frozen=True)
class Utterance:
    """One prepared file: 16-bit mono FLAC at the recording's own rate."""

    uid: str
    path: str
    fs: int
    seconds: float
    speaker: str
    lang: str
    text: str
    clips: tuple[str, ...] = ()


def make_utterances(
    speaker: str,
    recordings: Sequence[Recording],
    out: Path,
    max_seconds: float,
    seed: int,
    min_snr_db: float = MIN_SNR_DB,
    join: bool = True,
) -> tuple[list[Utterance], list[tuple[str, str, str]]]:
    """Decode, clean and join one speaker's clips into out/<speaker>/*.flac.

    Clips are joined in order until a length drawn from 3-6.5 s is passed, with pauses of
    0.15-0.3 s (our choice: models and metrics should see sentences, not words). Identical clips
    are used once; work ends at `max_seconds` so that no voice dominates. A finished speaker
    leaves a manifest and is not done again.

    Args:
        join: False where `speaker` stands for several people: each clip stays one utterance,
            and keeps its silence where it would be too short without.

    Returns:
        The utterances, and `(uid, path, reason)` of every file that could not be used.
    """
    folder, manifest = out / speaker, out / f"{speaker}.json"
    order = sorted(recordings, key=lambda recording: str(recording.path))
    identity = [[str(r.path), _stamp(r.path), r.lang, r.text] for r in order]
    settings = [identity, max_seconds, seed, min_snr_db]
    if not join:
        settings.append(join)
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    if manifest.is_file():
        done = json.loads(manifest.read_text(encoding="utf-8"))
        if done["digest"] == digest and all(Path(u["path"]).is_file() for u in done["utterances"]):
            utterances = [Utterance(**u) for u in done["utterances"]]
            return utterances, [tuple(row) for row in done["bad"]]
    rng = np.random.default_rng([seed, zlib.crc32(speaker.encode())])
    utterances: list[Utterance] = []
    bad: list[tuple[str, str, str]] = []
    clips = _clips(order, min_snr_db, bad, 0.0 if join else MIN_SECONDS)
    groups = _groups(clips, rng) if join else ((fs, [(clip, wav)]) for clip, wav, fs in clips)
    for fs, group in groups:
        uid = f"{speaker}-{len(utterances):04d}"
        wav = _join([clip for _, clip in group], fs, rng)
        if wav.size < MIN_SECONDS * fs:
            continue
        path = folder / f"{uid}.flac"
        write_audio(path, wav / max(1.0, float(np.abs(wav).max()) / 0.95), fs)
        texts = [recording.text for recording, _ in group]
        utterances.append(
            Utterance(
                uid,
                str(path.resolve()),
                fs,
                wav.size / fs,
                speaker,
                group[0][0].lang,
                NO_TEXT if NO_TEXT in texts else " ".join(texts),
                tuple(texts),
            )
        )
        if sum(u.seconds for u in utterances) >= max_seconds:
            break
    write_json(
        manifest,
        {"digest": digest, "utterances": [asdict(u) for u in utterances], "bad": bad},
    )
    return utterances, bad


def _stamp(path: Path):
    """Size and time of a file, so that a repaired one is read again; None if it is gone."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else None


def _clips(
    recordings: Iterable[Recording],
    min_snr_db: float,
    bad: list,
    min_seconds: float = 0.0,
):
    """Yield (recording, trimmed (T,), fs) of the files fit as a clean target, each content once.

    A clip that would be shorter than `min_seconds` is not trimmed.
    """
    seen = set()
    for recording in recordings:
        uid = f"{recording.speaker}/{recording.path.stem}"
        try:
            wav, fs = decode(recording.path)
            snr = snr_db(wav, fs)
            if snr < min_snr_db:
                raise BadAudio(f"noisy: about {snr:.0f} dB SNR, at least {min_snr_db:g} wanted")
            trimmed = trim(wav, fs)
            wav = trimmed if trimmed.size >= min_seconds * fs else wav
            if wav.size > MAX_SECONDS * fs:
                raise BadAudio(f"too long: {wav.size / fs:.1f} s, at most {MAX_SECONDS:g} s")
        except BadAudio as error:
            bad.append((uid, str(recording.path), str(error)))
            continue
        content = hashlib.md5(wav.tobytes()).digest()
        if content not in seen:
            seen.add(content)
            yield recording, wav, fs


def _groups(clips, rng: np.random.Generator):
    """Yield (fs, [(recording, clip)…]) to be joined; rates and languages are never mixed."""
    pending: dict[tuple, list] = {}
    wanted: dict[tuple, float] = {}
    for recording, wav, fs in clips:
        key = (fs, recording.lang)
        group = pending.setdefault(key, [])
        target = wanted.setdefault(key, rng.uniform(*JOIN_SECONDS))
        seconds = sum(clip.size for _, clip in group) / fs
        if group and seconds + wav.size / fs > 1.5 * JOIN_SECONDS[1]:
            yield fs, pending.pop(key)
            group = pending.setdefault(key, [])
            seconds = 0.0
        group.append((recording, wav))
        if seconds + wav.size / fs >= target:
            yield fs, pending.pop(key)
            wanted.pop(key)
    for (fs, _), group in pending.items():
        if group:
            yield fs, group


def _join(clips: list[np.ndarray], fs: int, rng: np.random.Generator) -> np.ndarray:
    """Concatenate clips (T_i,) with pauses of digital silence."""
    parts = [clips[0]]
    for clip in clips[1:]:
        parts.append(np.zeros(int(rng.uniform(*PAUSE_SECONDS) * fs), dtype=np.float32))
        parts.append(clip)
    return np.concatenate(parts)
