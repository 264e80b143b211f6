"""What a check is, and the data, tiny networks and folders that all checks share."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from helpers.training_runs import make_noise_data, noise_run, train_here

CHECKS = {}
RATES = (8000, 16000, 48000)


class Skip(Exception):
    """A check that cannot run here."""


def check(function):
    """Register a check under its name."""
    CHECKS[function.__name__] = function
    return function


def on_gpu(function):
    """A check that means nothing elsewhere."""

    def checked(bench):
        if bench.device.type != "cuda":
            raise Skip("needs a GPU")
        return function(bench)

    checked.__name__ = function.__name__
    return check(checked)


class Bench:
    """A folder with a data set, tokens and experiments that all checks share."""

    def __init__(self, root: Path, device: torch.device):
        self.root, self.device = root, device
        make_noise_data(root, num=24, rates=RATES, seconds=2.0)

    def run(self, branch: str, folder: str, **changes):
        """A training run of one branch at a tiny size."""
        lengths = {"num_iters_per_epoch": 6, "num_workers": 2, "log_interval": 2}
        changes = {**lengths, "preprocessor_conf": {"chunk_s": 1.0}, "ema_share": 0.05, **changes}
        run = noise_run(self.root, branch, self.root / folder, **changes)
        ngpu = int(self.device.type == "cuda")
        return replace(run, ngpu=ngpu, on_the_fly=branch == "hybrid")

    def train(self, run, *options: str) -> dict[int, dict[str, float]]:
        """Train in this process; the rows of progress.jsonl by batch."""
        extra = []
        if run.branch == "hybrid":
            for name in ("disc", "gen"):
                extra += ["--separator_conf", f"{name}={self.model(name)}"]
        train_here(run, *extra, *options)
        rows = (run.exp / "progress.jsonl").read_text().splitlines()
        return {row["batch"]: row for row in map(json.loads, rows)}

    def model(self, branch: str) -> Path:
        """The folder of a branch that was trained here.

        Raises:
            Skip: its training did not run before, or failed.
        """
        if not (self.root / branch / "1epoch.pth").is_file():
            raise Skip(f"train_{branch} must run before")
        return self.root / branch


def finite(rows) -> str:
    """The losses of a training, all of which must be finite."""
    losses = [row["loss"] for row in rows.values()]
    assert losses and np.isfinite(losses).all(), losses
    return f"loss {losses[0]:.3f} -> {losses[-1]:.3f}"
