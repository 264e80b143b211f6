"""Training of a quality network; killable at any moment, resumed at the last finished epoch."""

import json
import logging
import math
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor
from tqdm import tqdm

from espnet_hybridse.fileio.lists import atomic_path, write_json
from espnet_hybridse.sqa.config import SQAConfig
from espnet_hybridse.sqa.loss import WEIGHTS
from espnet_hybridse.sqa.network import UniVersaExt
from espnet_hybridse.sqa.rated import RATE, Rated, batch

CHECKPOINT = "checkpoint.pth"


class QualityTraining:
    """One experiment folder.

    Leaves `model.pt` (the weights of the epoch with the best mean rank correlation, and the
    network's arguments, as SQALoss reads them), `valid.json` (its correlations) and
    `checkpoint.pth`.

    Args:
        config: network and training.
        exp: folder.
        train, valid: rated speech; no speaker of `valid` should be in `train`.
        max_hours: budget over all restarts; None is max_epoch alone.
        seed: of weights, order and crops.
    """

    def __init__(
        self,
        config: SQAConfig,
        exp: Path,
        train: Rated,
        valid: Rated,
        max_hours: float | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ):
        self.config, self.exp, self.train, self.valid = config, exp, train, valid
        self.max_s, self.seed = (max_hours or math.inf) * 3600, seed
        self.device = torch.device(device)
        torch.manual_seed(seed)
        self.network = config.build().to(self.device)
        self.optim = torch.optim.AdamW(
            self.network.parameters(), config.lr, weight_decay=config.weight_decay
        )
        self.epoch, self.spent_s, self.best = 0, 0.0, -math.inf
        self.size = round(config.chunk_s * RATE)

    def run(self) -> dict:
        """Train to the end and return the best epoch's correlations."""
        self._resume()
        with tqdm(total=self.config.max_epoch, initial=self.epoch, unit="epoch") as bar:
            while self.epoch < self.config.max_epoch and self.spent_s < self.max_s:
                start = time.monotonic()
                loss = self._epoch()
                results = correlations(self.network, self.valid, self.config, self.size)
                self.epoch += 1
                self.spent_s += time.monotonic() - start
                self._save(results)
                mean = mean_srcc(results)
                logging.info("epoch %d: loss %.4f, valid SRCC %.3f", self.epoch, loss, mean)
                bar.set_postfix(loss=f"{loss:.4f}", srcc=f"{mean:.3f}")
                bar.update()
        return json.loads((self.exp / "valid.json").read_text())

    def _epoch(self) -> float:
        self.network.train()
        rng = np.random.default_rng((self.seed, self.epoch))
        torch.manual_seed(self.seed + self.epoch)
        order = rng.permutation(len(self.train.wavs))
        losses, start = [], time.monotonic()
        batches = max(len(order) // self.config.batch_size, 1)
        for index, rows in enumerate(np.array_split(order, batches)):
            done = (self.epoch + index / batches) / self.config.max_epoch
            done = max(done, (self.spent_s + time.monotonic() - start) / self.max_s)
            if done >= 1:
                break
            for group in self.optim.param_groups:
                group["lr"] = self.config.lr * 0.5 * (1 + math.cos(math.pi * done))
            wavs, scores = batch(self.train, rows, self.size, rng)
            loss = head_loss(self.network, wavs.to(self.device), scores.to(self.device))
            self.optim.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.grad_clip)
            self.optim.step()
            losses.append(loss.item())
        return float(np.mean(losses)) if losses else math.nan

    def _save(self, results: dict) -> None:
        self.exp.mkdir(parents=True, exist_ok=True)
        state = {name: value.cpu() for name, value in self.network.state_dict().items()}
        if (mean := mean_srcc(results)) > self.best or not (self.exp / WEIGHTS).is_file():
            self.best = mean
            network = {**self.config.network, "heads": list(self.config.heads)}
            self._write(WEIGHTS, {"model": state, "network": network})
            write_json(self.exp / "valid.json", {**results, "epoch": self.epoch})
        progress = {"epoch": self.epoch, "spent_s": self.spent_s, "best": self.best}
        self._write(CHECKPOINT, {"model": state, "optim": self.optim.state_dict(), **progress})

    def _write(self, name: str, value: dict) -> None:
        with atomic_path(self.exp / name) as tmp:
            torch.save(value, tmp)

    def _resume(self) -> None:
        path = self.exp / CHECKPOINT
        if not path.is_file():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        try:
            self.network.load_state_dict(state["model"])
        except RuntimeError as error:
            raise ValueError(
                f"{self.exp} holds a network of another configuration ({error}); choose another "
                "--exp, or delete that folder to train anew"
            ) from error
        self.optim.load_state_dict(state["optim"])
        self.epoch, self.spent_s, self.best = state["epoch"], state["spent_s"], state["best"]
        logging.info("%s: going on after epoch %d", self.exp, self.epoch)


def head_loss(network: UniVersaExt, wavs: Tensor, scores: Tensor) -> Tensor:
    """Mean absolute error, each head in shares of its range; NaN scores are left out."""
    low = torch.stack([network.metric2act[head].min_value for head in network.heads])
    high = torch.stack([network.metric2act[head].max_value for head in network.heads])
    known = ~scores.isnan()
    error = (network(wavs) - scores.nan_to_num()).abs() / (high - low)
    return (error * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def correlations(network: UniVersaExt, rated: Rated, config: SQAConfig, size: int) -> dict:
    """head -> {lcc, srcc, mae, utterances} over the middle `size` samples of each utterance."""
    network.eval()
    device = next(network.parameters()).device
    rows = range(len(rated.wavs))
    step = config.batch_size
    predicted = torch.cat(
        [
            network(batch(rated, rows[start : start + step], size)[0].to(device)).cpu()
            for start in range(0, len(rows), step)
        ]
    )
    results = {}
    for index, head in enumerate(network.heads):
        known = ~rated.scores[:, index].isnan()
        truth, guess = rated.scores[known, index].numpy(), predicted[known, index].numpy()
        varies = len(truth) > 2 and truth.std() > 0 and guess.std() > 0
        results[head] = {
            "lcc": float(pearsonr(truth, guess).statistic) if varies else 0.0,
            "srcc": float(spearmanr(truth, guess).statistic) if varies else 0.0,
            "mae": float(np.abs(truth - guess).mean()),
            "utterances": int(known.sum()),
        }
    return results


def mean_srcc(results: dict) -> float:
    """Mean rank correlation over heads."""
    values = [value["srcc"] for value in results.values() if isinstance(value, dict)]
    return float(np.mean(values))
