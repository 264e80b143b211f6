"""ESPnet's Trainer: whole checkpoints, counted steps, a budget in hours."""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Iterator, Optional

import torch
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from espnet_hybridse.atomic_save import atomic_saves
from espnet_hybridse.epoch_record import EpochRecord
from espnet_hybridse.step_counts import StepCounts

WARMUP = 0.02
FLOOR = 0.02


@dataclass
class HybridTrainerOptions(TrainerOptions):
    max_hours: Optional[float]


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

    def keep(self) -> None:
        """Write down the hours spent up to the end of this epoch."""
        self.epochs.write(self.epoch, {"seconds": self.spent_s, "budget_seconds": self.budget_s})


def latest_of(device: torch.device) -> Callable[[float], float]:
    """The largest of all processes' values, for processes that train together."""

    def share(value: float) -> float:
        shared = torch.tensor(value, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        return shared.item()

    return share


def options_are_distributed(distributed_option) -> bool:
    """Whether several processes train together."""
    return distributed_option is not None and distributed_option.distributed


class HybridTrainer(Trainer):
    """ESPnet's Trainer with whole checkpoints, counted steps and a budget in hours.

    `--max_hours` counts over all restarts of one experiment.
    """

    @classmethod
    def build_options(cls, args) -> HybridTrainerOptions:
        return build_dataclass(HybridTrainerOptions, args)

    @classmethod
    def run(cls, *args, **kwargs) -> None:
        with atomic_saves():
            super().run(*args, **kwargs)

    @classmethod
    def train_one_epoch(cls, model, iterator, optimizers, options, **kwargs) -> bool:
        """One epoch; true, which ends ESPnet's loop after saving, once the budget is spent."""
        out, epoch = Path(options.output_dir), kwargs["reporter"].epoch
        rank = kwargs["distributed_option"].dist_rank or ""
        counts = StepCounts(optimizers, options.accum_grad, out / f"steps{rank}.json", epoch)
        budget = None
        if options.max_hours is not None:
            share = float
            if options_are_distributed(kwargs["distributed_option"]):
                share = latest_of(next(model.parameters()).device)
            budget = TimeBudget(options.max_hours, out / "hours.json", epoch, share)
            iterator = budget.limit(iterator, optimizers)
        invalid = super().train_one_epoch(
            model=model,
            iterator=counts.watch(iterator),
            optimizers=optimizers,
            options=options,
            **kwargs,
        )
        logging.info(counts.finish())
        if budget is None:
            return invalid
        if invalid and not budget.exhausted:
            raise RuntimeError("every gradient of this epoch was NaN or Inf; lower optim_conf: lr")
        if not rank:
            budget.keep()
        if budget.exhausted:
            logging.info(
                f"The budget of {options.max_hours} h is spent: training ends after this epoch "
                "(a message about invalid gradients below means just that)"
            )
        return invalid or budget.exhausted
