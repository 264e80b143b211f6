"""Discriminative networks at equal core-time: same data, same seed, one thread each.

    python -m benchmarks.compare_networks --train dump/raw/train --valid dump/raw/valid \\
        --minutes 20 --out exp/compare

A variant's time is that of its process on the processor, so that several may run beside each
other. A variant that has been judged is not trained again; the table of all that were stands in
OUT/table.md.
"""

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks.macs import count
from espnet_hybridse.fileio.lists import atomic_path, read_list
from espnet_hybridse.nn.spectrum import WINDOW_MS, istft, stft
from espnet_hybridse.scoring.metrics.dnsmos import Dnsmos
from espnet_hybridse.scoring.metrics.estoi import Estoi
from espnet_hybridse.scoring.metrics.metric import Context, MetricFailed
from espnet_hybridse.scoring.metrics.pesq import Pesq
from espnet_hybridse.scoring.metrics.si_sdr import SiSdr
from espnet_hybridse.training.task import HybridEnhancementTask

SMALL, MINI = Path("conf/small/train_disc.yaml"), Path("conf/mini/train_disc.yaml")
VARIANTS: dict[str, tuple[Path, dict]] = {
    "mini": (MINI, {}),
    "small": (SMALL, {}),
    # The first network on bands: no weighing of neighbouring frames, no single bins above 1.6 kHz.
    "calibration": (SMALL, {"channels": 32, "hidden": 48, "taps": 1, "detail_channels": 0}),
    "one-tap": (SMALL, {"taps": 1}),
    "no-detail": (SMALL, {"detail_channels": 0}),
    "attention-time": (SMALL, {"attention": "time"}),
    "attention-bands": (SMALL, {"attention": "bands"}),
    "one-direction": (SMALL, {"bidirectional": False, "hidden": 96}),
    "fastenhancer-like": (
        SMALL,
        {
            "bidirectional": False,
            "cell": "gru",
            "recur_bands": False,
            "attention": "bands",
            "channels": 48,
            "hidden": 48,
            "n_layers": 3,
        },
    ),
    "0.1-gmac": (SMALL, {"channels": 20, "hidden": 32, "band_hidden": 24}),
    "0.6-gmac": (SMALL, {"channels": 48, "hidden": 80, "band_hidden": 64}),
}
"""Training YAML of a variant, and what changes in its separator_conf."""

COUNTED_S = 4.0
TIMED_S = 10.0
RATES = (16000, 48000)
WARMUP, FLOOR = 0.04, 0.05


def build(config: Path, changes: dict) -> tuple[torch.nn.Module, dict]:
    """The model of a training YAML with some options of its separator changed, and the YAML."""
    args = HybridEnhancementTask.get_parser().parse_args(
        ["--config", str(config), "--output_dir", "none"]
    )
    args.separator_conf = {**args.separator_conf, **changes}
    return HybridEnhancementTask.build_model(args), vars(args)


class Pairs:
    """Crops of the pairs of a rendered set in batches of one rate."""

    def __init__(self, folder: Path, batch_size: int, chunk_s: float, seed: int):
        self.mix, self.ref = read_list(folder / "wav.scp"), read_list(folder / "spk1.scp")
        self.fs = {uid: int(fs) for uid, fs in read_list(folder / "utt2fs").items()}
        self.rng, self.batch_size, self.chunk_s = np.random.default_rng(seed), batch_size, chunk_s

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """Endless (mix (B, T), ref (B, T), fs); fewer rows at higher rates, as in training."""
        while True:
            batches = []
            for fs in sorted(set(self.fs.values())):
                uids = self.rng.permutation([uid for uid in self.mix if self.fs[uid] == fs])
                size = max(1, round(self.batch_size * min(1.0, 16000 / fs)))
                batches += [uids[start : start + size] for start in range(0, len(uids), size)]
            for index in self.rng.permutation(len(batches)):
                yield self._batch(batches[index])

    def _batch(self, uids) -> tuple[torch.Tensor, torch.Tensor, int]:
        fs = self.fs[uids[0]]
        lengths = [soundfile.info(self.mix[uid]).frames for uid in uids]
        size = min(int(self.chunk_s * fs), min(lengths))
        rows: dict[str, list[np.ndarray]] = {"mix": [], "ref": []}
        for uid, length in zip(uids, lengths, strict=True):
            start = int(self.rng.integers(length - size + 1))
            for name, table in (("mix", self.mix), ("ref", self.ref)):
                wav, _ = soundfile.read(table[uid], size, start, dtype="float32")
                rows[name].append(wav)
        mix, ref = (torch.from_numpy(np.stack(rows[name])) for name in ("mix", "ref"))
        return mix, ref, fs

    def whole(self) -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
        """Every utterance once: its name, mix (T,), ref (T,), fs."""
        for uid in self.mix:
            mix, fs = soundfile.read(self.mix[uid], dtype="float32")
            ref, _ = soundfile.read(self.ref[uid], dtype="float32")
            size = min(mix.size, ref.size)
            yield uid, mix[:size], ref[:size], fs


def loss_of(model, mix: torch.Tensor, ref: torch.Tensor, fs: int) -> torch.Tensor:
    """The training loss of one batch, (B, T) each."""
    lengths = torch.full(mix.shape[:1], mix.shape[1])
    rate = torch.full((mix.shape[0], 1), fs)
    return model(mix, lengths, speech_ref1=ref, utt2fs=rate)[0]


def train(model, config: dict, pairs: Pairs, minutes: float, name: str) -> dict[str, float]:
    """Train for `minutes` of processor time, the rate warmed up and annealed over them."""
    optimizer = torch.optim.AdamW(model.parameters(), **config["optim_conf"])
    peak, budget = optimizer.param_groups[0]["lr"], 60.0 * minutes
    start, steps, heard, losses = time.process_time(), 0, 0.0, []
    model.train()
    for mix, ref, fs in pairs.batches():
        done = (time.process_time() - start) / budget
        if done >= 1.0:
            break
        rise = min(1.0, done / WARMUP)
        fall = FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * done))
        optimizer.param_groups[0]["lr"] = peak * max(rise, 0.02) * fall
        loss = loss_of(model, mix, ref, fs)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config["grad_clip"])
        if torch.isfinite(norm):
            optimizer.step()
        steps, heard = steps + 1, heard + mix.numel() / fs / 3600
        losses.append(loss.item())
        if steps % 100 == 0:
            logging.info(f"{name}: {100 * done:.0f} %, loss {np.mean(losses[-100:]):.4f}")
    return {"steps": steps, "hours heard": heard}


def judge(model, pairs: Pairs) -> dict[str, float]:
    """Mean scores of the validation set; with no model those of its input."""
    metrics = {"DNSMOS": Dnsmos("OVRL"), "PESQ": Pesq(), "ESTOI": Estoi(), "SI-SDR": SiSdr()}
    scores: dict[str, list[float]] = {name: [] for name in ("loss", *metrics)}
    for uid, mix, ref, fs in pairs.whole():
        out = mix
        if model is not None:
            batch = torch.from_numpy(mix)[None]
            with torch.no_grad():
                model.eval()
                scores["loss"].append(loss_of(model, batch, torch.from_numpy(ref)[None], fs).item())
                enhanced = model.forward_enhance(batch, torch.tensor([mix.size]), {}, fs=fs)[0]
            out = enhanced[0][0].numpy()[: mix.size]
        context = Context(uid)
        for name, metric in metrics.items():
            try:
                scores[name].append(metric.compute(out, ref, fs, context))
            except MetricFailed as error:
                logging.info(f"{uid}: no {name}: {error}")
    return {name: float(np.mean(values)) for name, values in scores.items() if values}


def cost(config: Path, changes: dict) -> dict[str, float]:
    """Parameters, multiply-accumulates and time on one thread for a second of audio."""
    result: dict[str, float] = {}
    for fs in RATES:
        separator = build(config, changes)[0].separator.eval()
        wav = torch.randn(1, int(TIMED_S * fs))
        spent = []
        with torch.no_grad():
            for _ in range(4):
                start = time.process_time()
                noisy = stft(wav, fs, WINDOW_MS["disc"])
                clean = separator(noisy, torch.tensor([noisy.shape[1]]), {})[0][0]
                istft(clean, fs, WINDOW_MS["disc"], wav.shape[1])
                spent.append(time.process_time() - start)
        noisy = stft(wav[:, : int(COUNTED_S * fs)], fs, WINDOW_MS["disc"])
        lengths = torch.tensor([noisy.shape[1]])
        parameters, macs = count(
            separator, lambda net, x=noisy, n=lengths: net(x, n, {}), fake=False
        )
        result["parameters"] = parameters
        result[f"GMAC/s {fs // 1000}k"] = macs / COUNTED_S / 1e9
        result[f"RTF {fs // 1000}k"] = min(spent) / TIMED_S
    return result


def measure(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Train and judge one variant; "noisy" is the input."""
    valid = Pairs(args.valid, 1, args.chunk_s, args.seed)
    if name == "noisy":
        return judge(None, valid)
    config, changes = args.variants[name]
    row = cost(config, changes)
    if args.minutes:
        torch.manual_seed(args.seed)
        model, options = build(config, changes)
        batch = args.batch_size or options["batch_size"]
        pairs = Pairs(args.train, batch, args.chunk_s, args.seed)
        row.update(train(model, options, pairs, args.minutes, name))
        row.update(judge(model, valid))
        torch.save(model.state_dict(), args.out / f"{name}.pth")
    return row


def run(args: argparse.Namespace) -> None:
    """Measure what has not been measured, then print the table of all."""
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows: dict[str, dict[str, float]] = {}
    for name in ["noisy", *args.names]:
        path = args.out / f"{name}.json"
        if not path.is_file():
            row = measure(name, args)
            logging.info(f"{name}: {row}")
            with atomic_path(path) as tmp:
                tmp.write_text(json.dumps(row))
        rows[name] = json.loads(path.read_text())
        with atomic_path(args.out / "table.md") as tmp:
            tmp.write_text(render(rows))
    print(render(rows))


def render(rows: dict[str, dict[str, float]]) -> str:
    """Markdown, a line a variant."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[key]:.4g}" if key in row else "" for key in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns 2 after one line on files that are missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare_networks",
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--train", type=Path, required=True, help="rendered set to train on")
    parser.add_argument("--valid", type=Path, required=True, help="rendered set to judge on")
    parser.add_argument("--out", type=Path, required=True, help="folder of results and weights")
    parser.add_argument(
        "--names", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="variants to measure"
    )
    parser.add_argument(
        "--config", nargs="*", type=Path, default=[], help="further variants: training YAMLs"
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="core-minutes; 0: cost only")
    parser.add_argument("--batch_size", type=int, default=None, help="instead of the YAMLs' own")
    parser.add_argument("--chunk_s", type=float, default=3.0, help="seconds of a crop")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    args.variants = {**VARIANTS, **{path.stem: (path, {}) for path in args.config}}
    args.names += [path.stem for path in args.config]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    try:
        run(args)
    except (ValueError, OSError) as error:
        print(f"python -m benchmarks.compare_networks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
