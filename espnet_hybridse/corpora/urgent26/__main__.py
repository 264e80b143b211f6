"""`python -m espnet_hybridse.corpora.urgent26`: the challenge's corpora as source lists."""

import argparse
import sys
from pathlib import Path

from espnet_hybridse.corpora.split import SETS
from espnet_hybridse.corpora.urgent26 import challenge
from espnet_hybridse.corpora.urgent26.corpus_table import CORPORA, LAST_STAGE, STAGES
from espnet_hybridse.corpora.urgent26.prepare import Places, combine, prepare_corpus
from espnet_hybridse.corpora.urgent26.splits import PUBLISHED, read_selection
from espnet_hybridse.runtime.workers import worker_pool

VARIABLES = {corpus.variable: corpus for corpus in CORPORA}


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m espnet_hybridse.corpora.urgent26",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--stage", type=int, default=1, help="first stage")
    options.add_argument("--stop_stage", type=int, default=LAST_STAGE, help="last stage")
    options.add_argument("--nj", type=int, default=2, help="processes")
    options.add_argument("--data", type=Path, default=Path("data"), help="where the lists go")
    options.add_argument(
        "--audio", type=Path, default=Path("downloads/audio"), help="where made audio goes"
    )
    options.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="folder of a corpus, as in db.sh; again for each",
    )
    options.add_argument("--selection", type=Path, help="challenge's list of train utterances")
    options.add_argument("--valid_selection", type=Path, help="and of validation utterances")
    options.add_argument("--num_wind", type=int, default=400, help="wind noises made without WIND")
    options.add_argument("--num_rirs", type=int, default=3000, help="responses made without RIRS")
    options.add_argument("--seed", type=int, default=0, help="of wind and rooms")
    options.add_argument("--list", action="store_true", help="print the corpora and stop")
    options.add_argument("--challenge_dir", type=Path, help="go on from the challenge's folders")
    options.add_argument(
        "--simulated",
        choices=SETS,
        help="list this set, the challenge's or that of --set_dir",
    )
    options.add_argument("--set_dir", type=Path, help="with --simulated: has wav.scp and spk1.scp")
    return options


def run(args: argparse.Namespace) -> None:
    """Run the stages that were asked for."""
    if args.list:
        for number, corpus in STAGES.items():
            print(f"stage {number}: {corpus.how_to_get()}")
        return
    if args.simulated or args.challenge_dir:
        go_on(args)
    else:
        prepare(args, folders(args.folder))


def go_on(args: argparse.Namespace) -> None:
    """--challenge_dir and --simulated: lists of what others prepared."""
    if not args.simulated:
        print(challenge.continue_sources(args.challenge_dir, args.data))
        return
    if args.set_dir:
        places = args.set_dir, args.set_dir, args.set_dir / "meta.tsv"
    elif args.challenge_dir and args.simulated != "test":
        places = challenge.challenge_set(args.challenge_dir, args.simulated)
    else:
        raise ValueError(
            f"--simulated {args.simulated} needs --set_dir; train and valid may have "
            "--challenge_dir instead"
        )
    print(challenge.continue_simulated(args.simulated, *places, args.data))


def folders(given: list[str]) -> dict[str, Path]:
    """Corpus name -> folder, for every variable of db.sh that is not empty."""
    found = {}
    for pair in given:
        variable, separator, folder = pair.partition("=")
        if not separator or variable not in VARIABLES:
            raise ValueError(f"--folder {pair}: expected NAME=DIR with {', '.join(VARIABLES)}")
        if folder:
            found[VARIABLES[variable].name] = Path(folder)
    return found


def prepare(args: argparse.Namespace, roots: dict[str, Path]) -> None:
    """Prepare the corpora of the stages; wrong folders and lists are found before work starts."""
    if args.nj < 1 or not 1 <= args.stage <= args.stop_stage <= LAST_STAGE:
        raise ValueError(
            f"--stage {args.stage} --stop_stage {args.stop_stage} --nj {args.nj}: stages are 1 to "
            f"{LAST_STAGE}, the last not before the first, and nj is 1 or more"
        )
    selections = {"train": args.selection, "valid": args.valid_selection}
    for path in filter(None, selections.values()):
        read_selection(path)
    chosen = [corpus for n, corpus in STAGES.items() if args.stage <= n <= args.stop_stage]
    for corpus in chosen:
        if corpus.name in roots:
            corpus.check(roots[corpus.name])
    if not args.selection and any(c.selected and c.name in roots for c in chosen):
        print(f"No --selection: every utterance is taken. The challenge's lists: {PUBLISHED}")
    places, missing = Places(args.data, args.audio), []
    with worker_pool(args.nj) as pool:
        for number, corpus in STAGES.items():
            if corpus not in chosen:
                continue
            if corpus.name in roots:
                print(f"-- {number} {corpus.variable}", flush=True)
                root = roots[corpus.name]
                print(prepare_corpus(corpus, root, places, selections, pool), flush=True)
            elif corpus.name not in ("wind", "rirs"):
                missing.append(corpus)
        for corpus in missing:
            print(f"-- left out, {corpus.variable} is empty in db.sh\n{corpus.how_to_get()}")
        if args.stop_stage == LAST_STAGE:
            print(f"-- {LAST_STAGE} joined lists")
            numbers = (args.num_wind, args.num_rirs, args.seed)
            wanted = [corpus.name for corpus in CORPORA if corpus.name in roots]
            for line in combine(places, wanted, *numbers, pool):
                print(line)
        used = sum(corpus.name in roots for corpus in chosen)
        print(f"{used} corpora of these stages used, {len(missing)} left out")


def main() -> int:
    args = parser().parse_args()
    try:
        run(args)
    except (ValueError, OSError) as error:
        print(f"local/data.sh: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
