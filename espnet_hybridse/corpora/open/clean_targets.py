"""Which utterances are clean enough to be a target: quality, clipping, and the band they fill."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from espnet_hybridse.corpora.urgent26.survey import effective_rate
from espnet_hybridse.corpora.utterances import Utterance
from espnet_hybridse.fileio.assets import dnsmos_model
from espnet_hybridse.fileio.audio import read_audio, resample, write_audio
from espnet_hybridse.fileio.lists import write_json
from espnet_hybridse.scoring.metrics.dnsmos import CALIBRATION, FS
from espnet_hybridse.scoring.metrics.dnsmos_network import HOP, WINDOW, DnsmosNetwork

JUDGED_SECONDS = 4.0
"""Most of an utterance that is judged, from its middle (our choice): stricter than the published
measure, which sees 9 s and scores 0.2 higher in the mean (24 files of three sources)."""

KEPT_EVERY = 100
"""Utterances after which scores are written down: a run that is cut off loses no more."""

CLIPPED_PEAK = 0.25
CLIPPED_RUN = 4
MAX_CLIPPED_RUNS = 3


@dataclass(frozen=True)
class Verdict:
    """One utterance judged.

    dnsmos: DNSMOS P.835 overall
    band_fs: lowest of the seven rates that holds its content, in Hz
    reason: why it is no clean target, or nothing
    """

    uid: str
    dnsmos: float
    band_fs: int
    clipped_runs: int
    reason: str = ""

    @property
    def kept(self) -> bool:
        return not self.reason


def judge_all(
    utterances: Sequence[Utterance], folder: Path, name: str, min_dnsmos: float
) -> tuple[list[Utterance], list[Verdict]]:
    """Judge one speaker's utterances and lower the rate of those that do not fill theirs.

    Scores are kept in folder/<name>.json, so that another run, with other limits too, does not
    compute them again.

    Returns:
        The utterances that are kept, and every verdict.
    """
    store = folder / f"{name}.json"
    known = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {}
    kept, verdicts, scores = [], [], {}
    for utterance in utterances:
        stamp = f"{utterance.path} {Path(utterance.path).stat().st_mtime_ns} {JUDGED_SECONDS}"
        score = scores[stamp] = known.get(stamp) or _measure(utterance)
        if len(scores) % KEPT_EVERY == 0:
            write_json(store, known | scores)
        verdict = Verdict(utterance.uid, **score, reason=_reason(score, min_dnsmos))
        verdicts.append(verdict)
        if verdict.kept:
            kept.append(_at_its_band(utterance, verdict.band_fs, folder / name))
    if scores != known:
        write_json(store, scores)
    return kept, verdicts


def _measure(utterance: Utterance) -> dict:
    wav, fs = read_audio(utterance.path)
    return {
        "dnsmos": round(dnsmos_overall(wav, fs), 3),
        "band_fs": effective_rate(wav, fs),
        "clipped_runs": clipped_runs(wav),
    }


def _reason(score: dict, min_dnsmos: float) -> str:
    if score["dnsmos"] < min_dnsmos:
        return f"DNSMOS {score['dnsmos']:.2f}, at least {min_dnsmos:g} wanted"
    if score["clipped_runs"] > MAX_CLIPPED_RUNS:
        return f"clipped in {score['clipped_runs']} places"
    return ""


def _at_its_band(utterance: Utterance, band_fs: int, folder: Path) -> Utterance:
    """The utterance, resampled to the rate that its content fills."""
    if band_fs >= utterance.fs:
        return utterance
    path = folder / f"{utterance.uid}-{band_fs}.flac"
    if not path.is_file():
        wav, fs = read_audio(utterance.path)
        write_audio(path, resample(wav, fs, band_fs), band_fs)
    return replace(utterance, path=str(path.resolve()), fs=band_fs)


def dnsmos_overall(wav: np.ndarray, fs: int) -> float:
    """DNSMOS P.835 overall of the middle JUDGED_SECONDS of (T,) at `fs` Hz.

    The published script repeats short files to 9 s; here the network sees the excerpt once, which
    costs a third.
    """
    wav = resample(wav, fs, FS)
    start = max(int(wav.size - JUDGED_SECONDS * FS) // 2, 0)
    wav = np.ascontiguousarray(wav[start : start + int(JUDGED_SECONDS * FS)])
    network = _network()
    pooled = list(network.over_file(wav, (wav.size - WINDOW) // HOP + 1))
    raw = network.head(np.concatenate(pooled, axis=2))[0]
    return float(CALIBRATION["OVRL"](np.float64(raw[2])))


@lru_cache(maxsize=1)
def _network() -> DnsmosNetwork:
    return DnsmosNetwork(dnsmos_model())


def clipped_runs(wav: np.ndarray) -> int:
    """How often CLIPPED_RUN or more samples of (T,) in a row stand at the highest level."""
    peak = float(np.abs(wav).max())
    if peak < CLIPPED_PEAK:
        return 0
    at_top = np.concatenate([[0], (np.abs(wav) >= 0.999 * peak).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(at_top))
    return int(((edges[1::2] - edges[::2]) >= CLIPPED_RUN).sum())


def verdict_rows(verdicts: Sequence[Verdict]) -> list[str]:
    """Tab-separated rows, the header first."""
    rows = ["uid\tkept\tdnsmos\tband_fs\tclipped_runs\treason"]
    for verdict in sorted(verdicts, key=lambda verdict: verdict.uid):
        cells = asdict(verdict)
        cells["kept"] = "yes" if verdict.kept else "no"
        rows.append("\t".join(str(cells[name]) for name in rows[0].split("\t")))
    return rows
