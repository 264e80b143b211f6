"""Seconds of audio that a processor core simulates, checks and scores in a second of its time."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Callable, Dict, Sequence

from espnet_hybridse.bench.simulate import make_bench_sources
from espnet_hybridse.lists import read_list, write_list
from espnet_hybridse.scoring.engine import score
from espnet_hybridse.simulation.check import check_sets
from espnet_hybridse.simulation.config import config_from_dict
from espnet_hybridse.simulation.parameters import sample_parameters
from espnet_hybridse.simulation.render import render

METRICS = ("PESQ", "ESTOI", "DNSMOS_OVRL")
"""Metrics whose packages need no hub; others cost more."""
SOURCES = 3
"""Speech files of 3 to 6 s that are made for it."""


def measure_data(num: int, metrics: Sequence[str] = METRICS, seed: int = 0) -> Dict[str, float]:
    """Render, check and score `num` utterances of noise-like speech, one process each time.

    Args:
        num: at least 2.
        metrics: words of --metrics of `hybridse score`.

    Returns:
        "simulate", "check", "score" -> seconds of audio a second of a core.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder)
        sources = make_bench_sources(root, seed, SOURCES)
        samples = list(sample_parameters(sources, config_from_dict({}), num, seed, root / "set"))
        audio_s = sum(sample.length / sample.fs for sample in samples)
        rates = {"simulate": audio_s / _timed(lambda: render(samples, sources, root / "set"))}
        leaks = ("speaker", "utterance", "noise", "audio", "content")
        rates["check"] = audio_s / _timed(lambda: check_sets([root / "set"], 1, leaks))
        rates["score"] = _score(root, metrics)
    return rates


def _score(root: Path, metrics: Sequence[str]) -> float:
    """What further files cost after the first, which loads the models."""
    tables = {name: read_list(root / "set" / name) for name in ("wav.scp", "spk1.scp")}
    lengths = read_list(root / "set" / "speech_length.scp")
    rates = read_list(root / "set" / "utt2fs")
    uids = sorted(tables["wav.scp"])
    seconds = []
    for chosen in (uids[:1], uids):
        for name, table in tables.items():
            write_list(root / f"{len(chosen)}_{name}", {uid: table[uid] for uid in chosen})
        lists = [root / f"{len(chosen)}_{name}" for name in ("spk1.scp", "wav.scp")]
        out = root / f"scores{len(chosen)}"
        seconds.append(_timed(lambda lists=lists, out=out: score(*lists, out, metrics, nj=1)))
    audio_s = sum(int(lengths[uid]) / int(rates[uid]) for uid in uids[1:])
    return audio_s / max(seconds[-1] - seconds[0], 1e-3 * seconds[-1])


def _timed(call: Callable[[], object]) -> float:
    """Seconds of processor time, that of worker processes included, however busy the machine is."""
    before = os.times()
    call()
    return sum(os.times()[:4]) - sum(before[:4])
