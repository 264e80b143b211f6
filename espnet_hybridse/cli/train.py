"""`hybridse train`: stages 5, 6 and 8."""

import argparse
from pathlib import Path

from espnet_hybridse.config import ConfigError, check_train_config
from espnet_hybridse.training import STREAMS, TrainingRun, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--branch", choices=tuple(STREAMS), required=True)
    parser.add_argument("--config", type=Path, required=True, help="training YAML")
    parser.add_argument("--exp", type=Path, required=True, help="experiment folder")
    parser.add_argument("--train", type=Path, default=Path("dump/raw/train"))
    parser.add_argument("--valid", type=Path, default=Path("dump/raw/valid"))
    parser.add_argument("--tokens", type=Path, default=Path("dump/tokens"), help="of stage 4")
    parser.add_argument(
        "--branches", type=Path, default=Path("dump/branches"), help="outputs dumped by stage 7"
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
        help="hybrid: run the frozen branches in training instead of reading stage 7's outputs",
    )
    parser.add_argument(
        "--unfreeze",
        nargs="+",
        choices=("disc", "gen"),
        default=[],
        help="hybrid: branches to train on together with the fusion; take a small optim_conf lr",
    )
    parser.add_argument("--max_hours", type=float, help="stop and anneal within these hours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--num_nodes", type=int, default=1)
    parser.add_argument(
        "extra",
        nargs="*",
        help="after '--': further options of espnet2.bin.enh_train",
    )


def run(args: argparse.Namespace) -> int:
    options = vars(args).copy()
    check_train_config(args.config)
    if args.branch != "hybrid" and (args.on_the_fly or args.unfreeze):
        raise ConfigError(f"--on_the_fly and --unfreeze are for --branch hybrid, not {args.branch}")
    print(train(TrainingRun(**options)))
    return 0
