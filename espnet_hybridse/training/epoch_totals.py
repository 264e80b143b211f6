"""Totals of a training by epoch, in a JSON file that a kill cannot put ahead of the weights."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from espnet_hybridse.fileio.lists import write_json

LEVEL_STRIDE = 16
"""Every so many samples tell a batch's level: all of them would take longer than the step."""


class EpochRecord:
    """`{"epochs": {"1": {...}, ...}}`: what had been summed up at the end of each epoch.

    An epoch's entry is written before its checkpoint. Training resumes at the epoch of the last
    checkpoint, asks for the entry before that one and overwrites what a kill left behind.

    Args:
        path: JSON file; made by the first `write`.
    """

    def __init__(self, path: Path):
        self.path = path

    def _read(self) -> dict[int, dict[str, Any]]:
        if not self.path.is_file():
            return {}
        return {int(k): v for k, v in json.loads(self.path.read_text())["epochs"].items()}

    def before(self, epoch: int) -> dict[str, Any]:
        """The entry of the last epoch before this one, {} where there is none."""
        earlier = {number: entry for number, entry in self._read().items() if number < epoch}
        return earlier[max(earlier)] if earlier else {}

    def write(self, epoch: int, entry: dict[str, Any]) -> None:
        """Set an epoch's entry and forget those after it."""
        kept = {number: value for number, value in self._read().items() if number < epoch}
        write_json(self.path, {"epochs": {**kept, epoch: entry}})


class StepCounts:
    """Counts steps, those skipped for a gradient of NaN or Inf, and input levels.

    The total over all epochs and restarts is kept in `record`.

    Args:
        record: JSON file of the totals.
        epoch: the one that is counted.
    """

    def __init__(self, record: Path, epoch: int):
        self.record, self.epoch = EpochRecord(record), epoch
        self.steps = self.skipped = 0
        self.levels_db: list[float] = []

    def watch(self, batches: Iterable) -> Iterator:
        """Yield the `(uids, batch)` of an iterator, noting how loud they are."""
        for uids, batch in batches:
            wav = batch["speech_mix"][:, ::LEVEL_STRIDE].float()
            power = wav.square().flatten(1).mean(1).clamp_min(1e-12)
            self.levels_db += (10 * power.log10()).tolist()
            yield uids, batch

    def step(self, taken: bool) -> None:
        """Count one step, taken or skipped."""
        self.steps += 1
        self.skipped += not taken

    def state_dict(self) -> dict[str, Any]:
        """What has been counted in this epoch."""
        return {"steps": self.steps, "skipped": self.skipped, "levels_db": list(self.levels_db)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.skipped = state["steps"], state["skipped"]
        self.levels_db = list(state["levels_db"])

    def finish(self) -> str:
        """Add to the record and return the line for the log."""
        totals = {"steps": self.steps, "skipped": self.skipped}
        for name, value in self.record.before(self.epoch).items():
            totals[name] += value
        self.record.write(self.epoch, totals)
        line = (
            f"{self.steps} steps, {self.skipped} skipped for a gradient of NaN or Inf "
            f"(in all {totals['skipped']} of {totals['steps']})"
        )
        if self.levels_db:
            levels = torch.tensor(self.levels_db)
            line += (
                f"; input level {levels.mean():.1f} dB "
                f"(from {levels.min():.1f} to {levels.max():.1f})"
            )
        return line
