"""NaN and Inf in gradients, weights and validation: named early, and never saved."""

import logging
import math
from typing import Any, Dict, Iterable, Iterator

import torch

from espnet_hybridse.training.step_counts import StepCounts

NAMED = 5
"""Skipped steps of an epoch whose utterances are named in the log."""


class GradientGuard:
    """Names the utterances of skipped steps and ends a training that only skips.

    ESPnet leaves out a step whose gradient is not finite and goes on; a network that has become
    NaN would go on so for days.

    Args:
        counts: of this epoch's steps.
        accum_grad: batches a step.
        patience: so many skipped steps in a row end the training. Mixed precision skips a few
            at its start while its scale adapts.
    """

    def __init__(self, counts: StepCounts, accum_grad: int, patience: int):
        self.counts, self.accum_grad, self.patience = counts, accum_grad, patience
        self.in_a_row = self.named = 0

    def watch(self, batches: Iterable) -> Iterator:
        """Yield `(uids, batch)` and judge each step once it is done.

        Raises:
            RuntimeError: `patience` steps in a row were skipped.
        """
        uids = []
        done = self.counts.done
        for number, (names, batch) in enumerate(batches, 1):
            uids += names
            yield names, batch
            if number % self.accum_grad:
                continue
            if self.counts.done == done:
                self._skipped(uids)
            else:
                self.in_a_row = 0
            uids, done = [], self.counts.done

    def _skipped(self, uids) -> None:
        self.in_a_row += 1
        if self.named < NAMED:
            self.named += 1
            logging.warning(f"skipped step: the gradient of {', '.join(uids)} is NaN or Inf")
        if self.in_a_row >= self.patience:
            raise RuntimeError(
                f"{self.in_a_row} steps in a row had a gradient of NaN or Inf (last: "
                f"{', '.join(uids)}). The last checkpoint is from before and good: run the same "
                "command again with a lower optim_conf: lr or with use_amp: false; nan_patience "
                f"({self.patience}) allows more"
            )


def refuse_non_finite(state: Dict[str, torch.Tensor], where: str) -> None:
    """Raise before weights that are NaN or Inf take the place of good ones.

    Raises:
        RuntimeError: naming the first such parameter.
    """
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise RuntimeError(
                f"{where} is not written: {name} holds NaN or Inf. The last checkpoint is good: "
                "run the same command again with a lower optim_conf: lr or with use_amp: false"
            )


def refuse_blind_validation(values: Iterable[Any]) -> None:
    """Raise if no validation loss is finite: such an epoch could pass for the best.

    Args:
        values: losses, batch by batch.

    Raises:
        RuntimeError: all of them are NaN or Inf.
    """
    finite = [math.isfinite(float(value)) for value in values]
    if finite and not any(finite):
        raise RuntimeError(
            f"the validation loss of all {len(finite)} batches is NaN or Inf; this epoch is not "
            "saved and the last checkpoint is good: look for NaN in the validation set "
            "(hybridse check), or lower optim_conf: lr"
        )
    if not all(finite):
        logging.warning(f"{finite.count(False)} of {len(finite)} validation losses are NaN or Inf")
