"""`hybridse train`: stages 5, 6 and 8."""

import argparse
from pathlib import Path

from espnet_hybridse.config import check_train_config
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
    print(train(TrainingRun(**options)))
    return 0
