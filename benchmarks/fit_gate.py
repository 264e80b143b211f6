"""Fits the gate: which measures tell clean speech from what there is to enhance.

    python -m benchmarks.fit_gate --sources DATA/train [...] --num 1500 --sets SET [...] \\
        --out espnet_hybridse/inference/gate.json

DATA is a source folder of `hybridse prepare`: its speech is taken as it is, with noise, or with one
other distortion, and its noise alone. SET is a set of `hybridse simulate`: its noisy files and
their references. A logistic regression on the measures and their squares learns which is clean.
Nothing of a test set may be among them.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_hybridse.fileio.audio import nearest_rate, read_audio, resample
from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.fileio.lists import read_list, write_json
from espnet_hybridse.inference.gate import CLEAN, features
from espnet_hybridse.inference.measures import Gauge, Measures
from espnet_hybridse.simulation.cache import AudioCache
from espnet_hybridse.simulation.demo import distorted
from espnet_hybridse.simulation.sources import Sources, read_segment

KINDS = ("clean", "noisy", "noise", "reverberation", "clipping", "packet_loss")
SHARES = (0.35, 0.35, 0.12, 0.08, 0.05, 0.05)
SNR_DB = (-5.0, 25.0)
LEVEL_DB = (-30.0, -1.0)
"""Of the peak."""
SECONDS = 10.0


def example(sources: Sources, rng: np.random.Generator, cache: AudioCache) -> tuple[str, Measures]:
    """One recording of a random kind, and what is measured of it."""
    kind = str(rng.choice(KINDS, p=SHARES))
    uid = sorted(sources.noise if kind == "noise" else sources.speech)
    fs, path = (sources.noise if kind == "noise" else sources.speech)[uid[rng.integers(len(uid))]]
    wav, fs = read_audio(path, "first")
    wav = wav[: int(SECONDS * fs)]
    if kind == "noisy":
        noises = sorted(sources.noise)
        noise_path = sources.noise[noises[rng.integers(len(noises))]][1]
        noise = read_segment(noise_path, fs, wav.size, rng, cache)
        ratio = np.square(wav).mean() / max(np.square(noise).mean(), 1e-12)
        wav = wav + noise * np.sqrt(ratio / 10 ** (rng.uniform(*SNR_DB) / 10))
    elif kind not in ("clean", "noise"):
        model_fs = nearest_rate(fs)
        wav, fs = resample(wav, fs, model_fs), model_fs
        wav = distorted(wav, fs, rng)[kind]
    level = 10 ** (rng.uniform(*LEVEL_DB) / 20)
    return kind, measure(wav * np.float32(level / max(np.abs(wav).max(), 1e-9)), fs)


def of_sources(folders: list[str], count: int, seed: int) -> Iterator[tuple[str, Measures]]:
    """`count` recordings made of source folders, in turn."""
    tables = [Sources.from_folder(folder) for folder in folders]
    rng, cache = np.random.default_rng(seed), AudioCache(0)
    for number in range(count):
        try:
            yield example(tables[number % len(tables)], rng, cache)
        except (BadAudio, ValueError):
            continue


def measure(wav: np.ndarray, fs: int) -> Measures:
    """The measures of (T,)."""
    gauge = Gauge(fs)
    gauge.add(wav[None])
    measures = gauge.result()
    if measures is None:
        raise BadAudio("too short")
    return measures


def of_set(folder: Path, count: int) -> Iterator[tuple[str, Measures]]:
    """Both files of `count` recordings of a rendered set, evenly taken."""
    noisy, clean = read_list(folder / "wav.scp"), read_list(folder / "spk1.scp")
    uids = sorted(noisy)
    for uid in uids[:: max(len(uids) // count, 1)]:
        for kind, table in (("noisy", noisy), ("clean", clean)):
            try:
                yield kind, measure(*read_audio(table[uid]))
            except BadAudio:
                continue


def fit(rows: np.ndarray, clean: np.ndarray, weights: np.ndarray, l2: float = 1e-3) -> np.ndarray:
    """Coefficients of a logistic regression by Newton's method, (D + 1,), the last is constant."""
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    coefficients = np.zeros(rows.shape[1])
    for _ in range(60):
        chance = 1 / (1 + np.exp(-rows @ coefficients))
        gradient = rows.T @ (weights * (chance - clean)) + l2 * coefficients
        curvature = (rows.T * (weights * chance * (1 - chance) + 1e-12)) @ rows
        coefficients -= np.linalg.solve(curvature + l2 * np.eye(len(coefficients)), gradient)
    return coefficients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sources", nargs="+", default=[], help="source folders")
    parser.add_argument("--sets", nargs="+", type=Path, default=[], help="rendered sets")
    parser.add_argument("--num", type=int, default=1500, help="recordings of both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--examples", type=Path, help="JSON lines of the measures, kept or read")
    args = parser.parse_args()
    kinds, measured = [], []
    if args.examples and args.examples.is_file():
        for line in args.examples.read_text().splitlines():
            row = json.loads(line)
            kinds.append(row.pop("kind"))
            measured.append(Measures(**row))
    else:
        made = chain(
            *(of_set(folder, args.num // len(args.sets)) for folder in args.sets),
            of_sources(args.sources, args.num, args.seed) if args.sources else (),
        )
        for kind, measures in tqdm(made, unit="file"):
            kinds.append(kind)
            measured.append(measures)
            if args.examples:
                with open(args.examples, "a") as handle:
                    handle.write(json.dumps({"kind": kind, **measures.as_dict()}) + "\n")
    rows = np.array([features(measures) for measures in measured])
    clean = np.array([kind == "clean" for kind in kinds])
    counts = Counter(clean.tolist())
    weights = np.array([1 / counts[one] for one in clean.tolist()])
    mean, spread = rows.mean(0), rows.std(0) + 1e-9
    scaled = ((rows - mean) / spread).clip(-3, 3)
    table = np.concatenate([scaled, np.square(scaled)], axis=1)
    fold, held_out = np.arange(len(table)) % 5, np.zeros(len(table))
    for number in range(5):
        kept = fold != number
        found = fit(table[kept], clean[kept], weights[kept])
        held_out[~kept] = 1 / (1 + np.exp(-(table[~kept] @ found[:-1] + found[-1])))
    for kind in KINDS:
        chances = held_out[[one == kind for one in kinds]]
        if not chances.size:
            continue
        shares = ", ".join(f"above {t}: {np.mean(chances > t):.3f}" for t in (0.3, 0.5, 0.7))
        print(f"{kind:14} {len(chances):5}  clean {shares}  (held out)")
    found = fit(table, clean, weights)
    write_json(
        args.out,
        {
            "measures": list(CLEAN),
            "mean": [float(f"{value:.6g}") for value in mean],
            "spread": [float(f"{value:.6g}") for value in spread],
            "linear": [float(f"{value:.5g}") for value in found[: len(mean)]],
            "square": [float(f"{value:.5g}") for value in found[len(mean) : -1]],
            "constant": float(f"{found[-1]:.5g}"),
        },
    )


if __name__ == "__main__":
    main()
