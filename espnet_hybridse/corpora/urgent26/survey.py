"""Survey of every file of a corpus: fit or not, and at which rate it goes into the lists."""

import json
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_hybridse.corpora.urgent26.corpus import Corpus, Item
from espnet_hybridse.fileio.audio import (
    MIN_SECONDS,
    RATES,
    nearest_rate,
    read_audio,
    resample,
    write_audio,
)
from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.fileio.formats import AudioInfo, BadAudio
from espnet_hybridse.fileio.lists import appended, whole_lines

CHUNK = 32


@dataclass(frozen=True)
class Finding:
    """One file: where its audio is for the lists, or what is wrong with it.

    fs, frames: of the audio at `path`, in Hz and samples
    stamp: size and time of the corpus's own file, so that a repaired one is looked at again
    """

    uid: str
    source: str
    stamp: tuple[int, int]
    path: str = ""
    fs: int = 0
    frames: int = 0
    fault: str = ""


def survey(
    corpus: Corpus, items: Iterable[Item], folder: Path, audio: Path, pool: Executor
) -> Iterator[Finding]:
    """Yield a Finding an item, in order, and keep each in folder/findings.jsonl.

    What an earlier, killed run found is not looked for again. Lowered copies go to `audio`.
    """
    kept = folder / "findings.jsonl"
    done = {finding.uid: finding for finding in _read(kept)}
    items = list(items)
    todo = [item for item in items if not _same(done.get(item.uid), item, audio)]
    for item in todo:
        done.pop(item.uid, None)
    judged = pool.map(
        partial(judge, corpus.kind, corpus.effective_rate, audio), todo, chunksize=CHUNK
    )
    with appended(kept) as append:
        for finding in tqdm(judged, corpus.name, len(todo), disable=None):
            append(json.dumps(asdict(finding), ensure_ascii=False))
            done[finding.uid] = finding
    yield from (done[item.uid] for item in items)


def judge(kind: str, lower: bool, audio: Path, item: Item) -> Finding:
    """Look into one file; a copy is written where the lists need another rate or channel.

    Noise and responses of several channels stay: the simulation reads the first one.
    """
    stamp = _stamp(item.path)
    try:
        info = _info(item.path, 0.0 if kind == "rir" else MIN_SECONDS)
        path, fs = item.path.resolve(), info.fs
        frames = info.frames
        if lower or fs not in RATES or (kind == "speech" and info.channels > 1):
            wav, fs = read_audio(item.path, "first")
            allowed = max((rate for rate in RATES if rate <= fs), default=0)
            if not allowed:
                raise BadAudio(f"rate {fs} Hz is below {RATES[0]} Hz, the lowest of the set")
            target = min(effective_rate(wav, fs), allowed) if lower else allowed
            if target != fs or (kind == "speech" and info.channels > 1):
                path = _copy_path(audio, item.uid).resolve()
                copy = resample(wav, fs, target)
                write_audio(path, copy / max(1.0, float(np.abs(copy).max())), target)
                fs, frames = target, copy.size
            else:
                frames = wav.size
        elif not info.exact:
            frames = read_info(item.path, exact=True).frames
    except BadAudio as error:
        return Finding(item.uid, str(item.path), stamp, fault=str(error))
    return Finding(item.uid, str(item.path), stamp, str(path), fs, frames)


def _info(path: Path, shortest: float) -> AudioInfo:
    """Header of a file that has audio in it, `shortest` seconds at least."""
    if not path.is_file():
        raise BadAudio("missing: the corpus's own table names it")
    info = read_info(path)
    if info.frames < max(shortest * info.fs, 1):
        raise BadAudio(f"too short: {info.seconds:.3f} s, at least {shortest} s needed")
    return info


def _copy_path(audio: Path, uid: str) -> Path:
    """Place of a copy: one of 256 folders, so that none has too many files."""
    return audio / f"{zlib.crc32(uid.encode()) % 256:02x}" / f"{uid}.flac"


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


def _same(finding: Finding | None, item: Item, audio: Path) -> bool:
    """Tell whether an earlier finding still holds."""
    if finding is None or finding.source != str(item.path) or finding.stamp != _stamp(item.path):
        return False
    copied = finding.path.startswith(str(audio.resolve()))
    return not copied or Path(finding.path).is_file()


def _read(path: Path) -> Iterator[Finding]:
    """Earlier findings; older runs left broken lines."""
    for line in whole_lines(path):
        try:
            values = json.loads(line)
            values["stamp"] = tuple(values["stamp"])
            yield Finding(**values)
        except (ValueError, TypeError, KeyError):
            continue


WINDOW_SECONDS = 0.032
THRESHOLD_DB = -50.0
"""Window, half-window hop and threshold are the challenge's."""

BLOCK = 1024


def effective_rate(wav: np.ndarray, fs: int) -> int:
    """Lowest of the seven rates that holds the content of `wav` (T,), never above `fs` Hz.

    Content ends at the highest frequency whose mean power is within 50 dB of the strongest one's.
    """
    window = int(WINDOW_SECONDS * fs)
    hop, taper = window // 2, np.hanning(window).astype(np.float32)
    if wav.size < window:
        wav = np.pad(wav, (0, window - wav.size))
    frames = np.lib.stride_tricks.sliding_window_view(wav, window)[::hop]
    power = np.zeros(window // 2 + 1)
    for start in range(0, len(frames), BLOCK):  # an hour of audio at once would need gigabytes
        spectrum = np.fft.rfft(frames[start : start + BLOCK] * taper)
        power += (np.abs(spectrum) ** 2).sum(axis=0)
    loud = np.flatnonzero(power > power.max() * 10 ** (THRESHOLD_DB / 10))
    return min(nearest_rate(int(np.ceil(2 * loud[-1] * fs / window))), fs)
