"""ESPnet's Trainer with a budget in hours, guards, and checkpoints within an epoch."""

import logging
import re
import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from espnet2.train.trainer import Trainer
from espnet2.utils.build_dataclass import build_dataclass

from espnet_hybridse.runtime.gpu_faults import memory_is_full
from espnet_hybridse.training.checkpoint import CHECKPOINT, atomic_saves, mend, read_checkpoint
from espnet_hybridse.training.ema import WeightAverage
from espnet_hybridse.training.epoch_totals import StepCounts
from espnet_hybridse.training.guards import (
    GradientGuard,
    refuse_blind_validation,
    refuse_full_disk,
    refuse_non_finite,
)
from espnet_hybridse.training.peers import ending_together
from espnet_hybridse.training.profiling import Plan, Profile
from espnet_hybridse.training.progress import FILE, ProgressLog
from espnet_hybridse.training.step_checkpoint import NAME, All, Reported, StepCheckpoint
from espnet_hybridse.training.step_values import StepValues
from espnet_hybridse.training.steps import Stepper, refuse_emulated_amp, validate
from espnet_hybridse.training.time_budget import Annealing, TimeBudget
from espnet_hybridse.training.trainer_options import (
    HybridTrainerOptions,
    as_list,
    device_of,
    latest_of,
    options_are_distributed,
    step_options,
    unwrapped,
)


class HybridTrainer(Trainer):
    """ESPnet's Trainer whose training can be stopped anywhere and never loses its last good state.

    Its steps are :class:`Stepper`'s, which do not wait for the GPU as ESPnet's do. Adds to
    ESPnet's options `--max_hours`, counted over all restarts of one experiment, `--anneal`,
    `--warmup_share`, `--ema_decay`, `--ema_share`, `--save_steps`, `--save_minutes`,
    `--nan_patience`, `--validate_start` and `--profile`; leaves `steps.json`, `hours.json`,
    `progress.jsonl` and `checkpoint_step.pth` beside ESPnet's own files.
    """

    @classmethod
    def build_options(cls, args) -> HybridTrainerOptions:
        return build_dataclass(HybridTrainerOptions, args)

    @classmethod
    def run(cls, model, optimizers, trainer_options, distributed_option, **kwargs) -> None:
        distributed = options_are_distributed(distributed_option)
        with ending_together(distributed_option.dist_rank) if distributed else nullcontext():
            try:
                cls._run(model, optimizers, trainer_options, distributed_option, **kwargs)
            except RuntimeError as error:
                if not memory_is_full(error):
                    raise
                where = "memory" if "cpu" in str(error).lower() else "the GPU"
                raise RuntimeError(
                    f"{where} is full: lower batch_per_gpu (and raise accum_grad as much), shorten "
                    "preprocessor_conf: chunk_s, or for tfgridnet_sfi set separator_conf: "
                    "{activation_checkpointing: true}. The last checkpoint is good. "
                    f"Cause: {error}"
                ) from error

    @classmethod
    def _run(cls, model, optimizers, trainer_options, distributed_option, **kwargs) -> None:
        options, out = trainer_options, Path(trainer_options.output_dir)
        if options.save_steps % options.accum_grad:
            raise ValueError(
                f"save_steps={options.save_steps} is no multiple of accum_grad="
                f"{options.accum_grad}: a checkpoint must fall between two steps"
            )
        writes = not distributed_option.dist_rank
        if writes:
            averages = bool(options.ema_decay or options.ema_share)
            refuse_full_disk(out, model, averages, as_list(options.keep_nbest_models))
            if options.resume:
                mend(out)
        if options_are_distributed(distributed_option):
            torch.distributed.barrier()
        refuse_emulated_amp(options.use_amp, device_of(model))
        distributed = options_are_distributed(distributed_option)
        share = latest_of(device_of(model)) if distributed else float
        if options.max_hours is not None:
            options.budget = TimeBudget(options.max_hours, out / "hours.json", share)
        shape = options.anneal or ("cosine" if options.max_hours is not None else None)
        if shape is not None:
            options.annealing = Annealing(optimizers, shape, options.warmup_share)
        if options.ema_decay or options.ema_share:
            options.average = WeightAverage(model, options.ema_decay, options.ema_share)
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
    def prepare(path: Path, saved: dict[str, Any], average: WeightAverage | None) -> Any:
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
        cls,
        model,
        iterator,
        optimizers,
        schedulers,
        scaler,
        reporter,
        summary_writer,
        options,
        distributed_option,
    ) -> bool:
        """One epoch; true, which ends ESPnet's loop after saving, once the budget is spent."""
        out, epoch = Path(options.output_dir), reporter.get_epoch()
        untrained = int(options.validate_start and options.max_epoch > 1)
        if options.average is not None:
            options.average.start()
        if epoch <= untrained and not options.profile:
            # Validated and kept like any other epoch, the start wins where training harms it.
            if options.budget is not None:
                options.budget.begin(epoch)
            logging.info("the first epoch is the start itself: it is validated, not trained")
            return False
        rank = distributed_option.dist_rank or ""
        distributed = options_are_distributed(distributed_option)
        network, budget = unwrapped(model), options.budget
        steps = step_options(model, options, distributed)
        counts = StepCounts(out / f"steps{rank}.json", epoch)
        values = StepValues(reporter, steps.fetch_every)
        guard = GradientGuard(counts, options.nan_patience)
        stepper = Stepper(model, optimizers, schedulers, steps, values, guard.judge)
        parts = {
            "model": network,
            "optimizers": All(optimizers),
            "schedulers": All(schedulers),
            "reporter": Reported(reporter),
            "counts": counts,
        }
        if budget is not None:
            budget.begin(epoch)
            parts["budget"] = budget
        if options.average is not None:
            parts["average"] = options.average
            average_hook = optimizers[0].register_step_post_hook(options.average.update)
        checkpoint = StepCheckpoint(
            out / NAME,
            parts,
            epoch,
            every=options.save_steps,
            seed=options.seed,
            writes=not rank,
            minutes=options.save_minutes,
            accum_grad=options.accum_grad,
            before=stepper.fetch,
        )
        if options.resume:
            state = checkpoint.find(iterator.batch_sampler)
            # All processes go on in the middle of the epoch, or none does.
            share = latest_of(steps.device) if distributed else float
            if not share(float(state is None)):
                checkpoint.take_up(state, iterator.batch_sampler)
        start = checkpoint.resumed_at
        progress = ProgressLog(
            out / FILE if not rank else None,
            network,
            optimizers,
            reporter,
            epoch,
            start,
            steps.log_interval,
            options.accum_grad,
            stepper.fetch,
        )
        # Innermost first: after a step the outer ones have seen it before it is saved.
        batches: Iterable = counts.watch(checkpoint.watch(iterator))
        if budget is not None:
            batches = budget.limit(batches)
        if options.annealing is not None:
            total = len(iterator.batch_sampler.batches)

            def done(batch: int) -> float:
                """The larger of the shares of epochs and of hours that are over."""
                trained = epoch - 1 - untrained + (start + batch) / total
                epochs = trained / (options.max_epoch - untrained)
                return max(epochs, budget.done() if budget is not None else 0.0)

            batches = options.annealing.watch(batches, done)
        batches = progress.watch(batches)

        def log() -> None:
            logging.info(reporter.log_message(-steps.log_interval))
            if summary_writer is not None:
                reporter.tensorboard_add_scalar(summary_writer, -steps.log_interval)
            if options.use_wandb:
                reporter.wandb_log()

        if options.profile:
            options.measured = Profile(
                options.profile,
                out,
                Plan(
                    max_epoch=options.max_epoch,
                    train_batches=len(iterator.batch_sampler.batches),
                    processes=steps.world_size,
                    max_hours=options.max_hours,
                    average=options.average is not None,
                    keep=max(as_list(options.keep_nbest_models)),
                ),
                steps.device,
            )
            stepper.run(options.measured.training(batches), start, log)
            return False
        stepper.run(batches, start, log)
        if options.average is not None:
            average_hook.remove()
        logging.info(f"{counts.finish()}; {progress.summary()}")
        if counts.steps and counts.skipped == counts.steps:
            raise RuntimeError("every gradient of this epoch was NaN or Inf; lower optim_conf: lr")
        if budget is None or not budget.over:
            return False
        logging.info(
            f"The budget of {options.max_hours} h is spent: training ends after this epoch "
            "(a message about invalid gradients below means just that)"
        )
        return True

    @classmethod
    def validate_one_epoch(cls, model, iterator, reporter, options, distributed_option) -> None:
        """Validate with the averaged weights if there are; refuses a loss that is NaN throughout.

        Raises:
            RuntimeError: see :func:`refuse_blind_validation`.
        """
        started = time.monotonic()
        steps = step_options(model, options, options_are_distributed(distributed_option))
        average = options.average
        with average.in_place() if average is not None else nullcontext():
            labels = getattr(iterator.dataset.dataset, "labels", None)
            if options.measured is not None:
                total = len(iterator.batch_sampler.batches)
                iterator = options.measured.validation(iterator, total)
            validate(model, iterator, steps, StepValues(reporter), labels)
        if options.measured is not None:
            options.measured.finish(unwrapped(model))
        refuse_blind_validation([v.value for v in reporter.stats.get("loss", ())])
        took = time.monotonic() - started
        logging.info(f"validation took {took:.1f} s")
        if options.budget is not None:
            options.budget.tick()
            if not distributed_option.dist_rank:
                options.budget.keep(took)
