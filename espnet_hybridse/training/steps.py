"""The training step and the validation step, neither of which waits for the GPU."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler

from espnet_hybridse.nn.precision import gpu_has_bfloat16
from espnet_hybridse.training.step_values import EVERY, StepValues

Batch = dict[str, Any]


@dataclass
class StepOptions:
    """How steps are taken; names and meaning of ESPnet's options.

    Attributes:
        device: where the model is.
        accum_grad: batches a step.
        grad_clip, grad_clip_type: bound of the gradient's norm, and which norm.
        log_interval: batches between two lines of the log.
        amp: bfloat16 where autocast allows it; LSTMs, last layers and losses stay in float32.
        world_size: processes that train together.
    """

    device: torch.device
    accum_grad: int = 1
    grad_clip: float = 5.0
    grad_clip_type: float = 2.0
    log_interval: int = 100
    amp: bool = False
    world_size: int = 1

    @property
    def fetch_every(self) -> int:
        """Batches between two looks at the device; on a CPU there is nothing to wait for."""
        return EVERY if self.device.type == "cuda" else 1

    def autocast(self) -> torch.autocast:
        """bfloat16 alone, which needs no loss scaling; nothing on a CPU, as in ESPnet."""
        enabled = self.amp and self.device.type == "cuda"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)


def refuse_emulated_amp(amp: bool, device: torch.device) -> None:
    """Raise ValueError where use_amp would compute in a type that the GPU only emulates."""
    if amp and device.type == "cuda" and not gpu_has_bfloat16():
        raise ValueError(
            f"use_amp: true needs a GPU with bfloat16 (compute capability 8.0), and "
            f"{torch.cuda.get_device_name()} has none; set use_amp: false, which is float32"
        )


def on_device(batch: Batch, device: torch.device) -> Batch:
    """A batch of the loader where the model is; lengths and rates become lists of numbers.

    Lists, because distributed training moves every tensor to the GPU, where reading a length would
    make everything wait.
    """
    moved = {}
    for name, value in batch.items():
        if name.endswith("_lengths") or name == "utt2fs":
            moved[name] = value.flatten().tolist()
        else:
            moved[name] = value.to(device, non_blocking=True)
    return moved


def average_over_processes(
    loss: torch.Tensor, stats: dict[str, torch.Tensor], weight: float, world_size: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
    """The loss whose gradient, averaged by DistributedDataParallel, is that of all batches joined.

    One exchange a step carries the weight and all values.

    Args:
        loss: (1,) mean over this process's batch.
        stats: values (1,), of the same names in every process.
        weight: utterances of this batch.
        world_size: processes.

    Returns:
        loss (1,), the values averaged over all utterances, all utterances (1,) on the device.
    """
    names = sorted(stats)
    shared = torch.cat([loss.new_ones(1), *(stats[name].to(loss) for name in names)]) * weight
    torch.distributed.all_reduce(shared)
    total = shared[:1]
    averaged = dict(zip(names, (shared[1:] / total).split(1), strict=True))
    return loss * (weight * world_size / total), averaged, total


class Stepper:
    """Trains one epoch, batch by batch.

    Args:
        model: as wrapped for distributed training.
        optimizers, schedulers: ESPnet's.
        options: how.
        values: what is reported.
        judge: told of each batch that was fetched: (names of its utterances, its values, whether
            a step ended with it); ends a training whose gradients are all NaN.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence[Any],
        options: StepOptions,
        values: StepValues,
        judge: Callable[[list[str], dict[str, float], bool], None],
    ):
        self.model, self.optimizers, self.schedulers = model, optimizers, schedulers
        self.options, self.values, self.judge = options, values, judge
        self.fused = all(
            group.get("fused") for optimizer in optimizers for group in optimizer.param_groups
        )
        self._named: list[tuple[list[str], bool]] = []

    def run(self, batches: Iterable, start: int = 0, log: Callable[[], None] | None = None) -> None:
        """Train on `(uids, batch)`; the first is number `start` + 1 of its epoch.

        `log` is called every log_interval batches, all values of which have then been reported.
        """
        options, self.model = self.options, self.model.train()
        since = asked = time.perf_counter()
        for number, (uids, batch) in enumerate(batches, start + 1):
            known = {"iter_time": time.perf_counter() - asked}
            ends = number % options.accum_grad == 0
            stats, weight, plain = self._step(on_device(batch, options.device), ends)
            if ends:
                known |= {
                    f"optim{i}_lr{j}": group["lr"]
                    for i, optimizer in enumerate(self.optimizers)
                    for j, group in enumerate(optimizer.param_groups)
                }
                known["train_time"] = time.perf_counter() - since
                since = time.perf_counter()
            self._named.append((uids, ends))
            due = self.values.add(stats, weight, plain, known)
            if due or number % options.log_interval == 0:
                self.fetch()
            if log is not None and number % options.log_interval == 0:
                log()
            asked = time.perf_counter()
        self.fetch()

    def fetch(self) -> None:
        """Report and judge the batches since the last time."""
        named, self._named = self._named, []
        for (uids, ended), row in zip(named, self.values.fetch(), strict=True):
            self.judge(uids, row, ended)

    def _step(self, batch: Batch, ends: bool) -> tuple[dict, float | torch.Tensor, dict]:
        options = self.options
        with options.autocast():
            loss, stats, weight = self.model(**batch)
        weight = float(weight)
        if options.world_size > 1:
            loss, stats, weight = average_over_processes(loss, stats, weight, options.world_size)
        (loss.sum() / options.accum_grad).backward()
        if not ends:
            return stats, weight, {}
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), options.grad_clip, options.grad_clip_type
        )
        self._update(norm)
        clipped = 100.0 * (norm > options.grad_clip)
        return stats, weight, {"grad_norm": norm, "clip": clipped}

    def _update(self, norm: torch.Tensor) -> None:
        """One optimiser step, unless the gradient is NaN or Inf."""
        finite = torch.isfinite(norm)
        taken = True if self.fused else bool(finite)
        for optimizer, scheduler in zip(self.optimizers, self.schedulers, strict=True):
            if self.fused:
                # The kernel itself leaves the weights alone: Python need not know whether it did.
                optimizer.grad_scale, optimizer.found_inf = None, (~finite).float()
            if taken:
                optimizer.step()
                if isinstance(scheduler, AbsBatchStepScheduler):
                    scheduler.step()
            optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def validate(
    model: torch.nn.Module,
    batches: Iterable,
    options: StepOptions,
    values: StepValues,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Report the values of every batch of a validation set.

    Args:
        model: to be validated.
        batches: `(uids, batch)`.
        options: how.
        values: what is reported.
        labels: of the utterances; the loss is reported as `loss_LABEL` for each label, too.
    """
    model.eval()
    names = sorted({name for given in (labels or {}).values() for name in given})
    for uids, batch in batches:
        with options.autocast():
            loss, stats, weight = model(**on_device(batch, options.device))
        weight, of_each = float(weight), stats.pop("loss_of_each", None)
        groups = names if of_each is not None else []
        of_groups = None
        if groups:
            members = torch.tensor([[name in labels[uid] for uid in uids] for name in names])
            members = members.float().to(of_each.device, non_blocking=True)
            # No product of matrices: those are in TF32 here.
            of_groups = torch.stack([(members * of_each.float()).sum(1), members.sum(1)])
            if options.world_size > 1:
                torch.distributed.all_reduce(of_groups)
        if options.world_size > 1:
            _, stats, weight = average_over_processes(loss, stats, weight, options.world_size)
        due = values.add(
            stats, weight, groups=[f"loss_{name}" for name in groups], of_groups=of_groups
        )
        if due:
            values.fetch()
    values.fetch()
