"""`hybridse score`: score systems, published ones too, tabulate them and rank them."""

import argparse
import shlex
import sys
from pathlib import Path

from espnet_hybridse.cli.arguments import pairs
from espnet_hybridse.fileio.lists import write_list
from espnet_hybridse.peers import PEERS
from espnet_hybridse.scoring.breakdown import breakdown_tables
from espnet_hybridse.scoring.do_no_harm import BASELINE, harm_table, worst_tables
from espnet_hybridse.scoring.engine import read_lists, score
from espnet_hybridse.scoring.inputs import audio_tables
from espnet_hybridse.scoring.metrics.registry import METRICS, select
from espnet_hybridse.scoring.ranking import rank_table
from espnet_hybridse.scoring.results import notes, write_results
from espnet_hybridse.scoring.table import read_systems, results_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    keys = " ".join(metric.key for metric in METRICS.values())
    one = parser.add_argument_group("score one system")
    one.add_argument(
        "--ref", metavar="IN", help="clean: a list, a folder or a file; without, fewer metrics"
    )
    one.add_argument("--inf", metavar="IN", help="enhanced, or noisy: a list, a folder or a file")
    one.add_argument("--text", metavar="TEXT", help="transcripts, for CAcc")
    one.add_argument("--utt2lang", metavar="LIST", help="languages, for LID and CAcc")
    one.add_argument("--metrics", nargs="+", default=["all"], metavar="M", help=f"all, or {keys}")
    one.add_argument("--out", metavar="DIR", help="rows, quarantine and settings go here")
    one.add_argument(
        "--nj", type=int, default=2, help="processes; 0: none but this one, which a crash ends"
    )
    one.add_argument("--device", default="auto", help="of networks: auto, cpu, cuda or cuda:N")
    one.add_argument("--batch", type=int, help="files a network scores at once; else 8 on a GPU")
    one.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="M=DIR",
        help="folder, file or id of a metric's weights in place of the official one",
    )
    one.add_argument(
        "--model",
        metavar="M",
        help="that made --inf: tables mark the columns that were in its loss. Else the one that "
        "'hybridse enhance' noted beside the files",
    )
    one.add_argument(
        "--split",
        metavar="i/n",
        help="score every n-th utterance only (array jobs); a run without it merges what they did",
    )
    one.add_argument(
        "--peer",
        nargs="+",
        metavar="P",
        help=f"enhance --inf, the noisy files, with published systems first: {' '.join(PEERS)}; "
        "each is scored in DIR/P, and put into --table where that is given",
    )
    table = parser.add_argument_group("tabulate scored systems")
    table.add_argument("--table", nargs="+", metavar="NAME=DIR", help="systems, row by row")
    table.add_argument("--rank", nargs="+", metavar="NAME=DIR", help="rank as the challenge does")
    table.add_argument(
        "--stand_ins", action="store_true", help="rank by stand-ins where official ones are absent"
    )
    table.add_argument(
        "--meta", metavar="TSV", help="meta.tsv of the set: scores by distortion, SNR, language"
    )
    table.add_argument(
        "--worst",
        type=int,
        default=0,
        metavar="N",
        help="list the N utterances that each system harms most, with their spectrograms",
    )
    table.add_argument("--results", metavar="FILE", help="write the tables and facts here too")
    table.add_argument(
        "--fact", nargs="+", default=[], metavar="NAME=VALUE", help="config, seed … for RESULTS.md"
    )


def run(args: argparse.Namespace) -> int:
    check_together(args)
    if args.rank:
        table, counted = rank_table(named(args.rank), args.stand_ins)
        print("\n".join([table.markdown(), "", *counted]))
        return 0
    peers = run_peers(args) if args.peer else {}
    if args.table:
        return tabulate(args, {**pairs(args.table, "--table Noisy=DIR"), **peers})
    if not peers:
        need(args, "or --table NAME=DIR … to tabulate")
        given = {**options(args), "in_loss": trained_on(args)}
        print(f"{args.out}: {score(args.ref, args.inf, args.out, **given)}")
    return 0


def trained_on(args: argparse.Namespace) -> list[str]:
    """Columns that were in the loss of the model behind --inf; none where it is not known."""
    from espnet_hybridse.model.find import find_model
    from espnet_hybridse.release.in_loss import columns_in_loss, model_behind

    model = find_model(args.model) if args.model else model_behind(Path(args.inf))
    return columns_in_loss(model) if model else []


def check_together(args: argparse.Namespace) -> None:
    """Raise ValueError for options that would be ignored, and for what would fail at the end."""
    ignored: tuple[str, ...]
    if args.rank:
        what = "--rank ranks what was scored"
        ignored = ("table", "peer", "ref", "inf", "out", "model", "meta", "worst", "results")
    elif args.table:
        what = "--table tabulates what was scored"
        ignored = ("model",) if args.peer else ("ref", "inf", "out", "model")
    else:
        what, ignored = "without --table nothing is tabulated", ("meta", "worst", "results", "fact")
    for name in ignored:
        if getattr(args, name):
            raise ValueError(f"{what} and would ignore --{name}; make it two commands")
    if args.metrics != ["all"] and (args.rank or args.table and not args.peer):
        raise ValueError(f"{what}, every metric that all systems have, and would ignore --metrics")
    if args.worst < 0:
        raise ValueError(f"--worst {args.worst} must be 0 (list none) or more")
    if args.results and Path(args.results).is_dir():
        raise ValueError(f"--results {args.results} is a folder; name a file in it")


def need(args: argparse.Namespace, otherwise: str) -> None:
    """Raise ValueError when what scoring needs is not there."""
    missing = [name for name in ("inf", "out") if not getattr(args, name)]
    if missing:
        raise ValueError(f"--{missing[0]} is needed to score, {otherwise}")


def options(args: argparse.Namespace) -> dict:
    """What the command line says about `score`."""
    from espnet_hybridse.cli.arguments import device_of

    names = ("metrics", "text", "utt2lang", "nj", "batch", "split")
    given = {name: getattr(args, name) for name in names}
    models = pairs(args.models, "--models LPS=DIR")
    return {**given, "device": device_of(args.device), "models": models}


def run_peers(args: argparse.Namespace) -> dict[str, str]:
    """Enhance and score with every peer; name -> folder of its scores."""
    from espnet_hybridse.peers.run import enhance_with

    need(args, "--inf the noisy files and --out a folder for all peers")
    folders = {}
    for key in args.peer:
        if key not in PEERS:
            raise ValueError(f"--peer {key!r} is not one of {', '.join(PEERS)}")
        PEERS[key].check()
    check_inputs(args)
    noisy = Path(args.inf)
    if noisy.suffix != ".scp":  # the same names of utterances as scoring has
        noisy = Path(args.out) / "noisy.scp"
        write_list(noisy, audio_tables(args.inf, args.ref)[0])
    for key in args.peer:
        folder = Path(args.out) / key
        enhanced = enhance_with(PEERS[key], noisy, folder, max(args.nj, 1))
        print(f"{folder}: {score(args.ref, enhanced, folder, **options(args))}")
        folders[PEERS[key].name] = str(folder)
    return folders


def check_inputs(args: argparse.Namespace) -> None:
    """Raise now what scoring or tabulating would raise when the peers have run for hours."""
    select(args.metrics)
    read_lists(args.inf, args.ref, args.text, args.utt2lang)
    if not args.table:
        return
    systems = pairs(args.table, "--table Noisy=DIR")
    for key in args.peer:
        if PEERS[key].name in systems:
            raise ValueError(
                f"--table {PEERS[key].name}=… and --peer {key} would be rows of one name; "
                "rename the one of --table"
            )
    read_systems(systems)


def named(words: list[str]) -> dict[str, str]:
    """NAME=DIR or DIR, which then is its own name."""
    return pairs([w if "=" in w else f"{w}={w}" for w in words], "--rank A=DIR B=DIR")


def tabulate(args: argparse.Namespace, out_dirs: dict[str, str]) -> int:
    if args.worst and BASELINE not in out_dirs:
        raise ValueError(
            f"--worst {args.worst} compares with the unprocessed input; score it too and put "
            f"{BASELINE}=DIR into --table"
        )
    tables = [results_table(out_dirs).markdown()]
    if BASELINE in out_dirs and len(out_dirs) > 1:
        harm = harm_table(out_dirs, BASELINE).markdown()
        tables.append("## Do no harm: utterances made worse\n\n" + harm)
        if args.worst:
            pictures = Path(args.results).parent / "worst" if args.results else None
            tables += worst_tables(out_dirs, args.worst, pictures)
    if args.meta:
        for kind, table in breakdown_tables(out_dirs, args.meta):
            name = kind if kind == "SNR" else kind.lower()
            tables.append(f"## By {name}\n\n{table.markdown()}")
    tables.append("## Notes\n\n" + notes(out_dirs))
    if args.results:  # before it is printed: who reads that may stop early, as `head` does
        command = shlex.join(["hybridse", *sys.argv[1:]])
        facts = {**pairs(args.fact, "--fact seed=0"), "command": f"`{command}`"}
        write_results(args.results, tables, facts)
    print("\n\n".join(tables))
    if args.results:
        print(f"\nwritten: {args.results}")
    return 0
