"""`hybridse train-sqa`: a quality network for the SQA loss, from metrics computed here."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_hybridse.cli.arguments import device_of
from espnet_hybridse.fileio.lists import read_list
from espnet_hybridse.fileio.yaml_config import ConfigError
from espnet_hybridse.sqa.config import SQAConfig
from espnet_hybridse.sqa.rated import load_rated
from espnet_hybridse.sqa.train import QualityTraining


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pairs = "audio lists with the scores.jsonl that hybridse score wrote over each"
    add = parser.add_argument
    add("--train", nargs="+", type=_pair, required=True, metavar="SCP=JSONL", help=pairs)
    add("--valid", nargs="+", type=_pair, required=True, metavar="SCP=JSONL", help=pairs)
    add("--config", type=Path, required=True, help="e.g. conf/mini/sqa.yaml")
    add("--exp", type=Path, required=True, help="experiment folder; an interrupted one goes on")
    add("--max_hours", type=float, help="of training, over all restarts; else max_epoch alone")
    add("--nj", type=int, default=2, help="processes that read audio")
    add("--seed", type=int, default=0, help="of weights, order and crops")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def run(args: argparse.Namespace) -> int:
    device = device_of(args.device)
    if args.max_hours is not None and args.max_hours <= 0:
        raise ConfigError(f"--max_hours {args.max_hours} must be above 0")
    config = SQAConfig.read(args.config)
    check_apart(args.train, args.valid)
    columns = {name: head["column"] for name, head in config.heads.items()}
    train, valid = (load_rated(pairs, columns, args.nj) for pairs in (args.train, args.valid))
    training = QualityTraining(config, args.exp, train, valid, args.max_hours, args.seed, device)
    results = training.run()
    print(f"{args.exp}/model.pt: epoch {results.pop('epoch')}, {len(train.wavs)} utterances")
    for head, value in results.items():
        print(
            f"  {head}: correlation {value['lcc']:.3f}, of ranks {value['srcc']:.3f}, "
            f"mean error {value['mae']:.2f} on {value['utterances']} held-out utterances"
        )
    return 0


def check_apart(train: Sequence[tuple[Path, Path]], valid: Sequence[tuple[Path, Path]]) -> None:
    """Refuse sets that share an utterance, whatever was done to it: its score would be no test.

    Raises:
        ConfigError: the message names one.
    """
    uids = [{uid for wavs, _ in pairs for uid in read_list(wavs)} for pairs in (train, valid)]
    shared = sorted(uids[0] & uids[1])
    if shared:
        raise ConfigError(
            f"--train and --valid share {len(shared)} utterances, such as {shared[0]}; "
            "correlations on what was trained on mean nothing: name lists of other utterances"
        )


def _pair(text: str) -> tuple[Path, Path]:
    wavs, separator, scores = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not LIST.scp=scores.jsonl")
    return Path(wavs), Path(scores)
