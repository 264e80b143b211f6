"""ESPnet's Trainer with a budget in hours, guards, and checkpoints within an epoch."""

import logging
import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Optional

import torch
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from espnet_hybridse.training.checkpoint import atomic_saves
from espnet_hybridse.training.ema import WeightAverage
from espnet_hybridse.training.guards import (
    GradientGuard,
    refuse_blind_validation,
    refuse_non_finite,
)
from espnet_hybridse.training.profiling import profiled
from espnet_hybridse.training.progress import FILE, ProgressLog
from espnet_hybridse.training.rotation import CHECKPOINT, mend, read_checkpoint
from espnet_hybridse.training.space import refuse_full_disk
from espnet_hybridse.training.step_checkpoint import NAME, All, Reported, StepCheckpoint
from espnet_hybridse.training.step_counts import StepCounts
from espnet_hybridse.training.time_budget import TimeBudget

LOG_INTERVAL = 100
"""Batches a row of progress.jsonl where log_interval is not given, as ESPnet's own lines."""


@dataclass
class HybridTrainerOptions(TrainerOptions):
    max_hours: Optional[float]
    ema_decay: Optional[float]
    save_steps: int
    nan_patience: int
    profile: Optional[int]

    average = None
    """The WeightAverage of the run; no option, so without a type."""


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


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model within the wrapper of distributed training."""
    parallel = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    return model.module if isinstance(model, parallel) else model


class HybridTrainer(Trainer):
    """ESPnet's Trainer whose training can be stopped anywhere and never loses its last good state.

    Adds to ESPnet's options `--max_hours`, counted over all restarts of one experiment,
    `--ema_decay`, `--save_steps`, `--nan_patience` and `--profile`; leaves `steps.json`,
    `hours.json`, `progress.jsonl` and `checkpoint_step.pth` beside ESPnet's own files.
    """

    @classmethod
    def build_options(cls, args) -> HybridTrainerOptions:
        return build_dataclass(HybridTrainerOptions, args)

    @classmethod
    def run(cls, model, optimizers, trainer_options, distributed_option, **kwargs) -> None:
        options, out = trainer_options, Path(trainer_options.output_dir)
        if options.save_steps % options.accum_grad:
            raise ValueError(
                f"save_steps={options.save_steps} is no multiple of accum_grad="
                f"{options.accum_grad}: a checkpoint must fall between two steps"
            )
        writes = not distributed_option.dist_rank
        if writes:
            keep = options.keep_nbest_models
            refuse_full_disk(
                out, model, bool(options.ema_decay), [keep] if isinstance(keep, int) else keep
            )
            if options.resume:
                mend(out)
        if options_are_distributed(distributed_option):
            torch.distributed.barrier()
        if options.ema_decay:
            options.average = WeightAverage(model, options.ema_decay)
            if options.resume and (out / CHECKPOINT).is_file():
                kept = read_checkpoint(out / CHECKPOINT)
                if "ema" in kept:
                    options.average.load_state_dict(kept["ema"])

        def prepare(path: Path, saved: Any) -> Any:
            return cls.prepare(path, saved, options.average)

        with atomic_saves(prepare):
            super().run(
                model=model,
                optimizers=optimizers,
                trainer_options=options,
                distributed_option=distributed_option,
                **kwargs,
            )
        if writes:
            (out / NAME).unlink(missing_ok=True)

    @staticmethod
    def prepare(path: Path, saved: Dict[str, Any], average: Optional[WeightAverage]) -> Any:
        """What is written for ESPnet's `saved`: nothing that is NaN, and averaged weights.

        `checkpoint.pth` keeps the weights as they are, to go on from, and the average beside them;
        `<N>epoch.pth`, which inference takes, holds the average.
        """
        if path.name == CHECKPOINT:
            refuse_non_finite(saved["model"], str(path))
            if average is not None:
                return {**saved, "ema": average.state_dict()}
        elif average is not None and re.fullmatch(r"\d+epoch\.pth", path.name):
            return average.averaged(saved)
        return saved

    @classmethod
    def train_one_epoch(
        cls, model, iterator, optimizers, schedulers, scaler, reporter, options, **kwargs
    ) -> bool:
        """One epoch; true, which ends ESPnet's loop after saving, once the budget is spent."""
        out, epoch = Path(options.output_dir), reporter.get_epoch()
        distributed = options_are_distributed(kwargs["distributed_option"])
        rank = kwargs["distributed_option"].dist_rank or ""
        network = unwrapped(model)
        counts = StepCounts(optimizers, options.accum_grad, out / f"steps{rank}.json", epoch)
        parts = {
            "model": network,
            "optimizers": All(optimizers),
            "schedulers": All(schedulers),
            "scaler": All([scaler]),
            "reporter": Reported(reporter),
            "counts": counts,
        }
        share = latest_of(next(model.parameters()).device) if distributed else float
        budget = None
        if options.max_hours is not None:
            budget = TimeBudget(options.max_hours, out / "hours.json", epoch, share)
            parts["budget"] = budget
        if options.average is not None:
            options.average.start()
            parts["average"] = options.average
            average_hook = optimizers[0].register_step_post_hook(options.average.update)
        checkpoint = StepCheckpoint(
            out / NAME, parts, epoch, options.save_steps, options.seed, writes=not rank
        )
        if options.resume:
            state = checkpoint.find(iterator.batch_sampler)
            # All processes go on in the middle of the epoch, or none does.
            if not share(float(state is None)):
                checkpoint.take_up(state, iterator.batch_sampler)
        progress = ProgressLog(
            out / FILE if not rank else None,
            network,
            optimizers,
            reporter,
            epoch,
            checkpoint.resumed_at,
            options.log_interval or LOG_INTERVAL,
            options.accum_grad,
        )
        # Innermost first: after a step the outer ones have seen it before it is saved.
        batches: Iterable = counts.watch(checkpoint.watch(iterator))
        batches = GradientGuard(counts, options.accum_grad, options.nan_patience).watch(batches)
        if budget is not None:
            batches = budget.limit(batches, optimizers)
        batches = progress.watch(batches)
        if options.profile:
            batches = profiled(batches, options.profile, out)
        invalid = super().train_one_epoch(
            model=model,
            iterator=batches,
            optimizers=optimizers,
            schedulers=schedulers,
            scaler=scaler,
            reporter=reporter,
            options=options,
            **kwargs,
        )
        if options.average is not None:
            average_hook.remove()
        logging.info(f"{counts.finish()}; {progress.summary()}")
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

    @classmethod
    def validate_one_epoch(cls, model, iterator, reporter, options, **kwargs) -> None:
        """ESPnet's, with the averaged weights if there are; refuses a loss that is NaN throughout.

        Raises:
            RuntimeError: see :func:`refuse_blind_validation`.
        """
        average = options.average
        with average.in_place() if average is not None else nullcontext():
            super().validate_one_epoch(
                model=model, iterator=iterator, reporter=reporter, options=options, **kwargs
            )
        refuse_blind_validation([v.value for v in reporter.stats.get("loss", ())])
