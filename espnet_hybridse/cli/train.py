"""`hybridse train`: one of the three networks."""

import argparse
from pathlib import Path

from espnet_hybridse.fileio.yaml_config import ConfigError
from espnet_hybridse.model.branch import BRANCHES, PARTS
from espnet_hybridse.training.launch import LAUNCHERS
from espnet_hybridse.training.run import TrainingRun
from espnet_hybridse.training.start import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--branch", choices=tuple(BRANCHES), required=True)
    parser.add_argument("--config", type=Path, required=True, help="training YAML")
    parser.add_argument("--exp", type=Path, required=True, help="experiment folder")
    parser.add_argument("--train", type=Path, default=Path("dump/raw/train"))
    parser.add_argument("--valid", type=Path, default=Path("dump/raw/valid"))
    parser.add_argument(
        "--tokens", type=Path, default=Path("dump/tokens"), help="of hybridse tokenize"
    )
    parser.add_argument(
        "--branches", type=Path, default=Path("dump/branches"), help="outputs of hybridse enhance"
    )
    parser.add_argument("--init", type=Path, help="experiment whose weights to start from")
    parser.add_argument(
        "--init_exclude",
        nargs="+",
        default=[],
        metavar="PREFIX",
        help="parameters that --init leaves at random, such as separator.lm for a model without it",
    )
    parser.add_argument(
        "--on_the_fly",
        action="store_true",
        help="hybrid: run the frozen branches in training instead of reading their outputs",
    )
    parser.add_argument(
        "--unfreeze",
        nargs="+",
        choices=PARTS,
        default=[],
        help="hybrid: branches to train on together with the fusion; take a small optim_conf lr",
    )
    parser.add_argument("--max_hours", type=float, help="stop and anneal within these hours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ngpu", type=int, default=0, help="GPUs of each machine")
    parser.add_argument("--num_nodes", type=int, default=1, help="machines")
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="local",
        help="what starts the processes: slurm and mpi within an allocation, torchrun on each "
        "machine, espnet through --cmd",
    )
    parser.add_argument("--nproc", type=int, default=1, help="torchrun: processes without GPUs")
    parser.add_argument("--rdzv", metavar="HOST:PORT", help="torchrun: where machines meet")
    parser.add_argument(
        "--cmd",
        help="espnet: Kaldi's script and its options, such as 'slurm.pl --config conf/slurm.conf'",
    )
    parser.add_argument(
        "--overfit",
        type=int,
        metavar="N",
        help="train and validate on N utterances for 500 steps: a network that learns gets near "
        "their loss's bottom; give --exp a folder of its own",
    )
    parser.add_argument(
        "--profile",
        type=int,
        metavar="STEPS",
        help="profile so many steps into EXP/profile.txt and profile.json instead of training",
    )
    parser.add_argument(
        "extra",
        nargs="*",
        help="after '--': further options of espnet2.bin.enh_train",
    )


def run(args: argparse.Namespace) -> int:
    # ESPnet takes seconds to import: not before --help has been printed.
    from espnet_hybridse.bin.enh_train import main
    from espnet_hybridse.training.config import check_train_config

    options = vars(args).copy()
    config = check_train_config(args.config)
    if args.overfit is not None and config.get("preprocessor") == "urgent_dynamic":
        raise ConfigError(
            f"{args.config}: preprocessor: urgent_dynamic draws new noise every epoch, which "
            "--overfit cannot learn by heart; use preprocessor: hybridse on a rendered set"
        )
    if args.branch != "hybrid" and (args.on_the_fly or args.unfreeze):
        raise ConfigError(f"--on_the_fly and --unfreeze are for --branch hybrid, not {args.branch}")
    for name in ("overfit", "profile"):
        if options[name] is not None and options[name] < 1:
            raise ConfigError(f"--{name} {options[name]}: expected 1 or more")
    print(train(TrainingRun(**options), main))
    return 0
