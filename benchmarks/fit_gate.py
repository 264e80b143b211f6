"""Fits the gate: which measures tell clean speech from what there is to enhance.

    python -m benchmarks.fit_gate --sources DATA/train [...] --num 1500 --sets SET [...] \\
        --out espnet_hybridse/inference/gate.json

DATA is a source folder of `hybridse prepare`: its speech is taken as it is, with noise, or with one
other distortion, and its noise alone. SET is a set of `hybridse simulate`: its noisy files and
their references. A network with one small hidden layer learns from the measures which is clean; a
quadratic form errs twice as often. Nothing of a test set may be among them.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from espnet_hybridse.fileio.audio import nearest_rate, read_audio, resample
from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.fileio.lists import read_list, write_json
from espnet_hybridse.inference.gate import ALL_BELOW, CLEAN, MOST_SPREADS, NONE_ABOVE, features
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
HIDDEN, L2 = 32, 1e-2
FOLDS, BLOCK = 5, 40


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
        try:
            mix, fs = read_audio(noisy[uid])
            reference, _ = read_audio(clean[uid])
            # Some recordings of a set are clean speech as it is.
            if not np.array_equal(mix, reference):
                yield "noisy", measure(mix, fs)
            yield "clean", measure(reference, fs)
        except BadAudio:
            continue


def fit(rows: np.ndarray, clean: np.ndarray) -> Any:
    """A classifier of scaled measures (N, D) into not clean and clean."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((HIDDEN,), alpha=L2, max_iter=2000, random_state=0).fit(rows, clean)


def as_table(mean: np.ndarray, spread: np.ndarray, network: Any) -> dict[str, Any]:
    """What `inference/gate.json` holds."""

    def rounded(values: np.ndarray) -> list:
        return [rounded(value) if value.ndim else float(f"{value:.5g}") for value in values]

    (first, second), (first_bias, second_bias) = network.coefs_, network.intercepts_
    return {
        "measures": list(CLEAN),
        "mean": rounded(mean),
        "spread": rounded(spread),
        "hidden": rounded(first.T),
        "hidden_bias": rounded(first_bias),
        "out": rounded(second[:, 0]),
        "out_bias": rounded(second_bias)[0],
    }


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
    mean, spread = rows.mean(0), rows.std(0) + 1e-9
    scaled = ((rows - mean) / spread).clip(-MOST_SPREADS, MOST_SPREADS)
    # Neighbours are of one recording: they are held out together.
    fold, held_out = np.arange(len(scaled)) // BLOCK % FOLDS, np.zeros(len(scaled))
    for number in range(FOLDS):
        away = fold == number
        held_out[away] = fit(scaled[~away], clean[~away]).predict_proba(scaled[away])[:, 1]
    for kind in KINDS:
        chances = held_out[[one == kind for one in kinds]]
        if not chances.size:
            continue
        limits = (ALL_BELOW, 0.5, NONE_ABOVE)
        shares = ", ".join(f"above {limit}: {np.mean(chances > limit):.3f}" for limit in limits)
        print(f"{kind:14} {len(chances):5}  clean {shares}  (held out)")
    write_json(args.out, as_table(mean, spread, fit(scaled, clean)))


if __name__ == "__main__":
    main()
