"""Speech with scores: what a quality network learns from."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from espnet_hybridse.fileio.audio import BadAudio, read_audio, resample
from espnet_hybridse.fileio.lists import read_list
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.scoring.rows import read_rows

RATE = 16000


class Rated(NamedTuple):
    """Utterances and their scores.

    Attributes:
        wavs: int16 at 16 kHz, (S,) each: 115 MB an hour.
        scores: (utterances, heads), NaN where a metric has none.
    """

    wavs: list[np.ndarray]
    scores: Tensor


def load_rated(
    pairs: Sequence[tuple[Path, Path]], columns: Mapping[str, str], nj: int = 1
) -> Rated:
    """Read every utterance that has at least one of the scores.

    Args:
        pairs: (list of audio, `scores.jsonl` of `hybridse score` over that list).
        columns: head of the network -> column of the scores.
        nj: processes that read.

    Raises:
        ValueError: a list and its scores share no utterance, or no file has one of the columns.
    """
    paths: list[str] = []
    scores: list[list[float]] = []
    for wavs, results in pairs:
        if not Path(results).is_file():
            raise ValueError(f"{results}: no such file; make it with hybridse score --inf {wavs}")
        table, rows = read_list(wavs), read_rows(results)
        shared = [uid for uid in table if uid in rows]
        if not shared:
            raise ValueError(f"{wavs} and {results} have no utterance in common")
        for uid in shared:
            values = [rows[uid]["scores"].get(column) for column in columns.values()]
            if any(value is not None for value in values):
                paths.append(table[uid])
                scores.append([np.nan if value is None else value for value in values])
    matrix = torch.tensor(scores, dtype=torch.float32).reshape(len(paths), len(columns))
    for index, (head, column) in enumerate(columns.items()):
        if not len(matrix) or bool(matrix[:, index].isnan().all()):
            files = ", ".join(str(results) for _, results in pairs)
            raise ValueError(f"head {head!r}: no score called {column!r} in {files}")
    with worker_pool(nj, None, ()) as pool:
        wavs = list(tqdm(pool.map(_read, paths, chunksize=8), total=len(paths), desc="reading"))
    good = [row for row, wav in enumerate(wavs) if wav is not None]
    if len(good) < len(wavs):
        logging.warning("%d of %d files could not be read", len(wavs) - len(good), len(wavs))
    return Rated([wavs[row] for row in good], matrix[good])


def _read(path: str) -> np.ndarray | None:
    try:
        wav, fs = read_audio(path)
    except BadAudio:
        return None
    return (resample(wav, fs, RATE).clip(-1, 1) * 32767).astype(np.int16)


def piece(wav: np.ndarray, size: int, rng: np.random.Generator | None) -> np.ndarray:
    """`size` samples of (S,): a random crop, without `rng` the middle; short ones are repeated."""
    if wav.size < size:
        return np.resize(wav, size)
    room = wav.size - size
    start = int(rng.integers(room + 1)) if rng else room // 2
    return wav[start : start + size]


def batch(
    rated: Rated, rows: Sequence[int], size: int, rng: np.random.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Pieces (B, size) float32 and scores (B, heads) of some utterances."""
    pieces = np.stack([piece(rated.wavs[row], size, rng) for row in rows])
    return torch.from_numpy(pieces / np.float32(32768)), rated.scores[list(rows)]
