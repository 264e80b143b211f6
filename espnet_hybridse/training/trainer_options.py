"""What the trainer is told, and what it has to know of the model and of the other processes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from espnet2.train.trainer import TrainerOptions

from espnet_hybridse.training.steps import StepOptions

LOG_INTERVAL = 100
"""Batches a row of progress.jsonl where log_interval is not given, as ESPnet's own lines."""


@dataclass
class HybridTrainerOptions(TrainerOptions):
    max_hours: float | None
    anneal: str | None
    warmup_share: float
    ema_decay: float | None
    ema_share: float | None
    save_steps: int
    save_minutes: float
    nan_patience: int
    validate_start: bool
    profile: int | None

    average = None
    """The WeightAverage of the run; no option, so without a type."""
    budget = None
    """Its TimeBudget."""
    annealing = None
    """Its Annealing."""
    measured = None
    """Its Profile."""


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


def as_list(keep: int | list[int]) -> list[int]:
    """ESPnet's keep_nbest_models, which may be one number."""
    return [keep] if isinstance(keep, int) else keep


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model's parameters are."""
    return next(model.parameters()).device


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model within the wrapper of distributed training."""
    parallel = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    return model.module if isinstance(model, parallel) else model


def step_options(model: torch.nn.Module, options, distributed: bool) -> StepOptions:
    """What a step has to know of the training's options."""
    return StepOptions(
        device=device_of(model),
        accum_grad=options.accum_grad,
        grad_clip=options.grad_clip,
        grad_clip_type=options.grad_clip_type,
        log_interval=options.log_interval or LOG_INTERVAL,
        amp=options.use_amp,
        world_size=torch.distributed.get_world_size() if distributed else 1,
    )
