"""What a training epoch did to its steps and got as input, in one line of the log."""

import math
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List

import torch

from espnet_hybridse.training.epoch_totals import EpochRecord


class StepCounts:
    """Counts optimiser steps, those skipped for a non-finite gradient, and input levels.

    ESPnet's trainer skips such a step with a warning and counts nothing. The total over all
    epochs and restarts is kept in `record`.

    Args:
        optimizers: whose steps are counted.
        accum_grad: batches a step.
        record: JSON file of the totals.
        epoch: the one that is counted.
    """

    def __init__(self, optimizers, accum_grad: int, record: Path, epoch: int):
        self.accum_grad, self.record, self.epoch = accum_grad, EpochRecord(record), epoch
        self.batches = self.done = 0
        self.levels_db: List[float] = []
        self._hooks = [optimizer.register_step_post_hook(self._count) for optimizer in optimizers]
        self._optimizers = len(self._hooks)

    def watch(self, batches: Iterable) -> Iterator:
        """Yield the `(uids, batch)` of an iterator, noting how many and how loud they are."""
        for uids, batch in batches:
            self.batches += 1
            wav = batch["speech_mix"].float()
            power = wav.square().flatten(1).mean(1).clamp_min(1e-12)
            self.levels_db += (10 * power.log10()).tolist()
            yield uids, batch

    def _count(self, *_) -> None:
        self.done += 1

    def state_dict(self) -> Dict[str, Any]:
        """What has been counted in this epoch."""
        return {"batches": self.batches, "done": self.done, "levels_db": list(self.levels_db)}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.batches, self.done = state["batches"], state["done"]
        self.levels_db = list(state["levels_db"])

    def finish(self) -> str:
        """Stop counting, add to the record and return the line for the log."""
        for hook in self._hooks:
            hook.remove()
        steps = self.batches // self.accum_grad
        skipped = steps - math.ceil(self.done / self._optimizers)
        totals = {"steps": steps, "skipped": skipped}
        for name, value in self.record.before(self.epoch).items():
            totals[name] += value
        self.record.write(self.epoch, totals)
        line = (
            f"{steps} steps, {skipped} skipped for a gradient of NaN or Inf "
            f"(in all {totals['skipped']} of {totals['steps']})"
        )
        if self.levels_db:
            levels = torch.tensor(self.levels_db)
            line += (
                f"; input level {levels.mean():.1f} dB "
                f"(from {levels.min():.1f} to {levels.max():.1f})"
            )
        return line
