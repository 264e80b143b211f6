"""What would cost a training: NaN and Inf, named early and never saved, and a full disk."""

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet_hybridse.fileio.disk import NO_ROOM, check_room, no_room
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


def checkpoint_bytes(model: nn.Module, average: bool, moments: int = 2) -> int:
    """Bytes of one `checkpoint.pth`: weights, the optimiser's moments, a moving average.

    Args:
        model: to be trained.
        average: whether a moving average is kept.
        moments: values that the optimiser keeps a parameter; two for Adam and its kin.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return weight_bytes(model) + (moments + average) * trained


def weight_bytes(model: nn.Module) -> int:
    """Bytes of one `<N>epoch.pth`."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


def kept_bytes(model: nn.Module, average: bool, keep: int) -> int:
    """Bytes that a training keeps at most.

    They are two epochs' checkpoints and one within an epoch, the weights of the best epochs and of
    the last, their average; one more of each while it is written.
    """
    return 4 * checkpoint_bytes(model, average) + (keep + 3) * weight_bytes(model)


def refuse_full_disk(folder: Path, model: nn.Module, average: bool, keep: Sequence[int]) -> None:
    """Raise if what the rest of the training keeps does not fit beside what is there.

    Args:
        folder: of the experiment.
        model: to be trained.
        average: whether a moving average is kept.
        keep: ESPnet's keep_nbest_models.

    Raises:
        RuntimeError: naming the bytes needed and free.
    """
    wanted = kept_bytes(model, average, max(keep))
    # lstat: links to weights are not weights.
    there = sum(path.lstat().st_size for path in folder.glob("*.pth"))
    one = checkpoint_bytes(model, average) + weight_bytes(model)
    needed = max(wanted - there, one)
    advice = "name another folder (--exp), or lower keep_nbest_models"
    check_room(folder, needed, "the checkpoints of this training", advice)


def explain_full_disk(error: Exception, path: Path) -> Exception:
    """The error to raise where `path` could not be written: one that names the disk if it was that.

    Args:
        error: that writing raised; torch hides the system's own.
        path: of the file.
    """
    chain = [error, error.__context__, error.__cause__]
    codes = [getattr(link, "errno", None) for link in chain]
    if not any(code in NO_ROOM for code in codes) and "PytorchStreamWriter" not in str(error):
        return error
    return RuntimeError(
        f"{path} {no_room(error, path)}. What was there before is untouched: free space and run "
        "the same command again"
    )
