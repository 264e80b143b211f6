"""NaN and Inf in gradients, weights and validation: named early, and never saved."""

import logging
import math
from collections.abc import Iterable
from typing import Any

import torch

from espnet_hybridse.training.epoch_totals import StepCounts

NAMED = 5
"""Skipped steps of an epoch whose utterances are named in the log."""


class GradientGuard:
    """Names the utterances of skipped steps and ends a training that only skips.

    A step whose gradient is not finite is left out; a network that has become NaN would go on so
    for days.

    Args:
        counts: of this epoch's steps.
        patience: so many skipped steps in a row end the training.
    """

    def __init__(self, counts: StepCounts, patience: int):
        self.counts, self.patience = counts, patience
        self.in_a_row = self.named = 0
        self._uids: list[str] = []

    def judge(self, uids: list[str], values: dict[str, float], ended: bool) -> None:
        """Look at what one batch of the utterances `uids` reported.

        Args:
            uids: its utterances.
            values: with `grad_norm` where a step ended with it.
            ended: whether one did.

        Raises:
            RuntimeError: `patience` steps in a row were skipped.
        """
        self._uids += uids
        if not ended:
            return
        finite = math.isfinite(values["grad_norm"])
        self.counts.step(finite)
        if finite:
            self.in_a_row = 0
        else:
            self._skipped()
        self._uids = []

    def _skipped(self) -> None:
        self.in_a_row += 1
        uids = ", ".join(self._uids)
        if self.named < NAMED:
            self.named += 1
            logging.warning(f"skipped step: the gradient of {uids} is NaN or Inf")
        if self.in_a_row >= self.patience:
            raise RuntimeError(
                f"{self.in_a_row} steps in a row had a gradient of NaN or Inf (last: {uids}). The "
                "last checkpoint is from before and good: run the same command again with a lower "
                f"optim_conf: lr or with use_amp: false; nan_patience ({self.patience}) allows more"
            )


def refuse_non_finite(state: dict[str, torch.Tensor], where: str) -> None:
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
