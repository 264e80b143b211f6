"""A budget of training in hours, and the learning rate over it or over the epochs."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from espnet_hybridse.training.epoch_totals import EpochRecord

SHARED_EVERY = 25
"""Batches between two exchanges of the time among processes, each of which waits for all."""

SHAPES = ("cosine", "linear", "constant")


class TimeBudget:
    """Hours of training over all restarts: everything between the first batch and the last save.

    Validation counts, and as much time as the last one took is kept for the next: training ends
    within its hours, with its last validation done.

    Args:
        max_hours: of training and validation.
        record: JSON file of the hours.
        share: maps this process's seconds to those that all processes agree on: their rates must
            be equal, and all must stop at the same batch.
    """

    def __init__(self, max_hours: float, record: Path, share: Callable[[float], float] = float):
        self.budget_s = max_hours * 3600.0
        self.record, self.share = EpochRecord(record), share
        self.epoch, self.spent_s, self.validation_s = 1, 0.0, 0.0
        self.agreed_s = 0.0
        self._since: float | None = None

    def begin(self, epoch: int) -> None:
        """Start the clock of an epoch.

        Time that a kill took away with its weights does not count: only what the epochs before
        this one spent does.
        """
        before = self.record.before(epoch)
        self.epoch, self.spent_s = epoch, before.get("seconds", 0.0)
        self.agreed_s = self.spent_s
        self.validation_s = before.get("validation_seconds", 0.0)
        self._since = time.monotonic()

    def tick(self) -> float:
        """Add the time since the last call; returns it."""
        now = time.monotonic()
        passed, self._since = now - self._since, now
        self.spent_s += passed
        return passed

    @property
    def usable_s(self) -> float:
        """Seconds for training: the last validation's are kept for the next one."""
        return max(self.budget_s - self.validation_s, 0.5 * self.budget_s)

    @property
    def exhausted(self) -> bool:
        return self.agreed_s >= self.usable_s

    @property
    def over(self) -> bool:
        """Whether nothing is left for another epoch once this one has been validated."""
        return self.agreed_s + self.validation_s >= self.usable_s

    def done(self) -> float:
        """Share of the training that is over, 0 to 1."""
        return min(self.agreed_s / self.usable_s, 1.0)

    def limit(self, batches: Iterable) -> Iterator:
        """Yield batches until the budget is spent."""
        for number, batch in enumerate(batches):
            self.tick()
            if number % SHARED_EVERY == 0 or self.share is float:
                self.spent_s = self.agreed_s = self.share(self.spent_s)
                if self.exhausted:
                    break
            yield batch
        self.tick()
        self.spent_s = self.agreed_s = self.share(self.spent_s)

    def state_dict(self) -> dict[str, Any]:
        """The seconds spent up to here."""
        return {"spent_s": self.spent_s}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.spent_s = self.agreed_s = state["spent_s"]

    def keep(self, validation_s: float) -> None:
        """Write down what was spent up to the end of this epoch and its validation."""
        self.validation_s = validation_s
        self.record.write(
            self.epoch,
            {
                "seconds": self.spent_s,
                "validation_seconds": validation_s,
                "budget_seconds": self.budget_s,
            },
        )


class Annealing:
    """The learning rate over a whole training: a linear rise, then a fall to zero.

    A rate that ends at zero needs no choice of the moment at which to stop, and averages less
    (our choice; the paper names no schedule).

    Args:
        optimizers: whose rate is set; its peak is what they have now, before a checkpoint is
            loaded: another number of GPUs may ask for another peak.
        shape: "cosine" and "linear" fall to zero, "constant" stays.
        warmup_share: share of the training in which the rate rises from zero.

    Raises:
        ValueError: another shape or share.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        shape: str = "cosine",
        warmup_share: float = 0.02,
    ):
        if shape not in SHAPES:
            raise ValueError(f"anneal={shape!r} is not one of {', '.join(SHAPES)}")
        if not 0.0 <= warmup_share < 1.0:
            raise ValueError(f"warmup_share={warmup_share} must lie in [0, 1), such as 0.02")
        self.shape, self.warmup_share = shape, warmup_share
        self.optimizers = optimizers
        # A scheduler has begun with a small "lr" and keeps the peak under another name.
        self.peaks = [
            [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
            for optimizer in optimizers
        ]

    def factor(self, done: float) -> float:
        """Rate relative to its peak once this share of the training is over."""
        if done < self.warmup_share:
            return done / self.warmup_share
        phase = (done - self.warmup_share) / (1 - self.warmup_share)
        if self.shape == "linear":
            return 1 - phase
        return 0.5 * (1 + math.cos(math.pi * phase)) if self.shape == "cosine" else 1.0

    def watch(self, batches: Iterable, done: Callable[[int], float]) -> Iterator:
        """Yield batches, setting the rate before each.

        Args:
            batches: of an epoch.
            done: share of the training that is over after so many of these batches.
        """
        for number, batch in enumerate(batches):
            # The middle of the step: neither the first nor the last one is of rate zero.
            factor = self.factor(0.5 * (done(number) + done(number + 1)))
            for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * factor
            yield batch
