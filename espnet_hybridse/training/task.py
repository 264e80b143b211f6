"""The ESPnet task of all three branches."""

import argparse
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from espnet2.tasks.enh import EnhancementTask
from espnet2.train.preprocessor import AbsPreprocessor
from espnet2.utils.get_default_kwargs import get_default_kwargs
from espnet2.utils.types import float_or_none, int_or_none, str2bool, str_or_none

from espnet_hybridse.data.dataset import CropDataset
from espnet_hybridse.data.iterator import EpochIterFactory
from espnet_hybridse.data.labels import labels_of
from espnet_hybridse.data.preprocessor import HybridPreprocessor
from espnet_hybridse.data.sampler import RateGroupedSampler
from espnet_hybridse.model.branch import FUSED, HYBRID, branch_of
from espnet_hybridse.model.espnet_model import HybridEnhancementModel, build_training_model
from espnet_hybridse.model.files import ModelFiles, check_hashes, part_folder
from espnet_hybridse.model.loading import ModelLoader, fill, with_loaders
from espnet_hybridse.plugin import PREPROCESSORS, find_class, register
from espnet_hybridse.training.time_budget import SHAPES
from espnet_hybridse.training.trainer import HybridTrainer

# The children that ESPnet spawns for distributed training import this module: they, too, need
# the names.
register()

ONE_KERNEL = ("adam", "adamw")
"""Optimisers whose step is one kernel on a GPU."""


def is_distributed() -> bool:
    """Whether several processes train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def batch_per_gpu(args: argparse.Namespace) -> int:
    """Utterances of each process's batch; `batch_size` is ESPnet's name of it here.

    Raises:
        ValueError: both are given.
    """
    if args.batch_per_gpu and args.batch_size != ESPNET_BATCH_SIZE:
        raise ValueError(
            f"batch_per_gpu={args.batch_per_gpu} and batch_size={args.batch_size} both say how "
            "many utterances each GPU gets; give batch_per_gpu alone"
        )
    return args.batch_per_gpu or args.batch_size


ESPNET_BATCH_SIZE = 20
"""ESPnet's default: nobody gave another."""


class HybridEnhancementTask(EnhancementTask):
    """ESPnet's enhancement task with the package's names, batches and model."""

    trainer = HybridTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Stock arguments, with this package's defaults and `--max_hours`."""
        super().add_task_arguments(parser)
        parser.set_defaults(
            iterator_type="task",
            preprocessor="hybridse",
            allow_multi_rates=True,
        )
        parser.add_argument(
            "--max_hours",
            type=float,
            default=None,
            help="End training within this many hours, validation and restarts counted; without "
            "--anneal the learning rate then falls along a cosine.",
        )
        parser.add_argument(
            "--batch_per_gpu",
            type=int_or_none,
            default=None,
            help="Utterances at up to 16 kHz of each GPU's batch, fewer at higher rates; "
            "--batch_size means the same here, and --valid_batch_size in validation.",
        )
        parser.add_argument(
            "--lr_batch",
            type=int_or_none,
            default=None,
            help="Utterances a step, of all GPUs and accum_grad, to which optim_conf: lr belongs; "
            "with another number it is multiplied by the root of their ratio. none: lr as it is.",
        )
        parser.add_argument(
            "--anneal",
            type=str_or_none,
            choices=(*SHAPES, None),
            default=None,
            help="Learning rate over max_epoch, and over --max_hours where given: up to that of "
            "optim_conf within --warmup_share, then to zero along a cosine or a line. It takes "
            "the place of a scheduler's. none: the scheduler's.",
        )
        parser.add_argument(
            "--warmup_share",
            type=float,
            default=0.02,
            help="Share of the training in which --anneal lets the learning rate rise.",
        )
        parser.add_argument(
            "--sqa_checkpoint",
            default=None,
            help="Quality network of the criterion sqa, instead of the one in its conf: dnsmos, "
            "model.pt or the folder that holds it, a Hugging Face id, or none.",
        )
        parser.add_argument(
            "--ema_decay",
            type=float_or_none,
            default=None,
            help="Moving average of the weights, such as 0.999; it is validated, saved as "
            "<N>epoch.pth and used for enhancement. none: off.",
        )
        parser.add_argument(
            "--ema_share",
            type=float_or_none,
            default=None,
            help="The same, with a horizon of this share of the steps so far, such as 0.05; "
            "--ema_decay then bounds it. none: off.",
        )
        parser.add_argument(
            "--save_minutes",
            type=float,
            default=10.0,
            help="Minutes between checkpoints within an epoch; 0: none",
        )
        parser.add_argument(
            "--save_steps",
            type=int,
            default=0,
            help="Batches between checkpoints within an epoch, a multiple of --accum_grad; 0: none",
        )
        parser.add_argument(
            "--nan_patience",
            type=int,
            default=100,
            help="End training after this many steps in a row whose gradient is NaN or Inf.",
        )
        parser.add_argument(
            "--validate_start",
            type=str2bool,
            default=False,
            help="Let the first epoch be the start itself, validated without training: weights "
            "that fine-tuning does not improve stay the best.",
        )
        parser.add_argument(
            "--overfit",
            type=int_or_none,
            default=None,
            help="Train and validate on so many utterances, always the same parts of them.",
        )
        parser.add_argument(
            "--profile",
            type=int_or_none,
            default=None,
            help="Profile so many steps, write profile.txt and profile.json, and end.",
        )

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """As ESPnet's, but no process of a distributed training leaves before the others.

        The first still averages checkpoints when the rest are through; one that ends with its
        process group open can abort, and a launcher then kills the first in the middle of it.
        """
        if args.ngpu:
            # Products in TF32: of 10 bits in the mantissa, at several times the speed.
            torch.set_float32_matmul_precision("high")
        super().main_worker(args)
        if is_distributed():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

    @classmethod
    def build_optimizers(cls, args: argparse.Namespace, model: torch.nn.Module) -> list:
        """ESPnet's; on a GPU in one kernel, which also leaves out the step of a NaN gradient.

        With `--lr_batch` the learning rate follows the utterances of a step of all processes.
        """
        processes = torch.distributed.get_world_size() if is_distributed() else 1
        utterances = batch_per_gpu(args) * processes * args.accum_grad
        conf, rate = dict(args.optim_conf), args.optim_conf.get("lr")
        if args.lr_batch and rate is not None:
            conf["lr"] = rate * (utterances / args.lr_batch) ** 0.5
        logging.info(
            f"{utterances} utterances a step at up to 16 kHz: {batch_per_gpu(args)} each of "
            f"{processes} processes, accum_grad {args.accum_grad}; lr {conf.get('lr')}"
            + (f", {rate} at {args.lr_batch}" if args.lr_batch else "")
        )
        if args.ngpu and args.optim in ONE_KERNEL:
            conf = {"fused": True, **conf}
        # What is written to config.yaml stays what was asked for.
        args = argparse.Namespace(**{**vars(args), "optim_conf": conf})
        return super().build_optimizers(args, model=model)

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        names = super().optional_data_names(train=train, inference=inference)
        return (*names, "tokens", "speech_disc", "speech_gen")

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> Callable | None:
        train = train and not getattr(args, "overfit", None)
        if args.preprocessor not in PREPROCESSORS:
            return super().build_preprocess_fn(args, train)
        cls_of = find_class("preprocessor", args.preprocessor)
        preprocessor: AbsPreprocessor = cls_of(train=train, **args.preprocessor_conf)
        return preprocessor

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> HybridEnhancementModel:
        conf = dict(args.separator_conf)
        if branch_of(args.separator) is HYBRID:
            # The experiment names its branches relative to itself, so that it can be moved. One
            # that is not there may be trained without: from its dumped outputs.
            folder = Path(getattr(args, "output_dir", None) or ".")
            for name in FUSED:
                place = part_folder(conf[name], folder) if conf.get(name) else None
                if place is not None:
                    conf[name] = ModelLoader(ModelFiles.read(place), find_class)
        return build_training_model(args, conf, find_class)

    @classmethod
    def build_model_from_file(cls, config_file=None, model_file=None, device="cpu"):
        """As ESPnet's, with every key checked and a fusion's branches found beside it."""
        if config_file is None or model_file is None:
            return super().build_model_from_file(config_file, model_file, device)
        path = Path(config_file)
        files = replace(ModelFiles.read(path.parent, path.name), weights=Path(model_file))
        args = argparse.Namespace(**files.complete().config)
        model = build_training_model(
            # Losses may need weights of their own, which inference does not.
            argparse.Namespace(**{**vars(args), "criterions": []}),
            with_loaders(files, find_class)["separator_conf"],
            find_class,
        )
        check_hashes(files.folder)
        fill(model, files)
        return model.to(device).eval(), args

    @classmethod
    def build_task_iter_factory(cls, args: argparse.Namespace, iter_options, mode: str):
        """Batches of one rate and one length; see RateGroupedSampler."""
        dataset = CropDataset(
            iter_options.data_path_and_name_and_type,
            iter_options.shape_files[0],
            iter_options.preprocess_fn,
        )
        cls.check_task_requirements(
            dataset, args.allow_variable_data_keys, train=iter_options.train
        )
        logging.info(f"[{mode}] {len(dataset)} of {dataset.total} utterances stand in every list")
        if getattr(args, "overfit", None):
            dataset.keep(np.arange(min(args.overfit, len(dataset))))
        if not iter_options.train:
            paths = {name: Path(p) for p, name, _ in iter_options.data_path_and_name_and_type}
            dataset.labels = labels_of(paths["speech_ref1"].parent, dataset.uids, dataset.fs)
        shards = (0, 1)
        if iter_options.distributed:
            shards = (torch.distributed.get_rank(), torch.distributed.get_world_size())
        valid = args.valid_batch_size or batch_per_gpu(args)
        sampler = RateGroupedSampler(
            dataset.fs,
            dataset.samples,
            batch_per_gpu=batch_per_gpu(args) if iter_options.train else valid,
            chunk_s=args.preprocessor_conf.get(
                "chunk_s", get_default_kwargs(HybridPreprocessor)["chunk_s"]
            ),
            shards=shards,
        )
        logging.info(f"[{mode}] {sampler.summary()}")
        return EpochIterFactory(
            dataset=dataset,
            batches=sampler,
            seed=args.seed,
            num_iters_per_epoch=iter_options.num_iters_per_epoch,
            shuffle=iter_options.train,
            num_workers=args.num_workers,
            collate_fn=iter_options.collate_fn,
            pin_memory=args.ngpu > 0,
        )
