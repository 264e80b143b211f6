"""A budget of training in hours, and the learning rate that belongs to it."""

import math
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator

from espnet_hybridse.training.epoch_totals import EpochRecord

WARMUP = 0.02
FLOOR = 0.02


class TimeBudget:
    """Hours of training over all restarts, and the learning rate that belongs to them.

    The rate rises linearly for the first 2 % of the budget and then falls along a half cosine to
    2 % of its peak: whatever the machine's speed, training ends annealed (our choice). It takes
    the place of a scheduler's rate; the peak is that of `optim_conf`.

    Args:
        max_hours: of training; validation does not count.
        record: JSON file of the hours.
        epoch: the one about to begin. Time that a kill took away with its weights does not count:
            only what the epochs before this one spent does.
        share: maps this process's seconds to those that all processes agree on, at every step:
            their rates must be equal, and all must stop at the same one.
    """

    def __init__(
        self,
        max_hours: float,
        record: Path,
        epoch: int,
        share: Callable[[float], float] = float,
    ):
        self.budget_s = max_hours * 3600.0
        self.epochs, self.epoch, self.share = EpochRecord(record), epoch, share
        self.spent_s = self.epochs.before(epoch).get("seconds", 0.0)

    @property
    def exhausted(self) -> bool:
        return self.spent_s >= self.budget_s

    def factor(self) -> float:
        """Learning rate relative to its peak."""
        done = min(self.spent_s / self.budget_s, 1.0)
        if done < WARMUP:
            return FLOOR + (1 - FLOOR) * done / WARMUP
        phase = (done - WARMUP) / (1 - WARMUP)
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * phase))

    def limit(self, batches: Iterable, optimizers) -> Iterator:
        """Yield batches until the budget is spent, setting the learning rate before each."""
        last = time.monotonic()
        for batch in batches:
            self.spent_s = self.share(self.spent_s)
            if self.exhausted:
                break
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    # A warm-up has begun with a small "lr" and keeps the configured one here.
                    group.setdefault("peak_lr", group.get("initial_lr", group["lr"]))
                    group["lr"] = group["peak_lr"] * self.factor()
            yield batch
            now = time.monotonic()
            self.spent_s += now - last
            last = now

    def state_dict(self) -> Dict[str, Any]:
        """The seconds spent up to here."""
        return {"spent_s": self.spent_s}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.spent_s = state["spent_s"]

    def keep(self) -> None:
        """Write down the hours spent up to the end of this epoch."""
        self.epochs.write(self.epoch, {"seconds": self.spent_s, "budget_seconds": self.budget_s})
