#!/usr/bin/env python3
"""Train variants of one branch for the same time and tabulate their scores on the valid set.

With several --seeds every variant is trained that often, and a second table has the mean and the
standard deviation over the seeds.

A file of variants maps names to changes of the base configuration; nested keys are merged, and a
key with the value null is removed:

    small: {separator_conf: {n_layers: 2}}
    no_l1: {criterions: [...]}

The key init_exclude lists prefixes of parameters that --init must not set in that variant.
"""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, stdev

import yaml

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.fileio.yaml_config import check_keys, read_yaml
from espnet_hybridse.scoring.rows import read_rows


def merge(base: dict, changes: dict) -> dict:
    """`base` with `changes`, dictionaries key by key."""
    out = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        elif value is None:
            out.pop(key, None)
        else:
            out[key] = value
    return out


def hybridse(log: Path, *arguments) -> None:
    """Run one command; its output goes to `log`, whose end is shown if it fails."""
    command = [sys.executable, "-m", "espnet_hybridse.cli.main", *map(str, arguments)]
    # One thread a run: runs side by side must not fight over the cores.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with open(log, "a", encoding="utf-8") as handle:
        code = subprocess.run(command, stdout=handle, stderr=subprocess.STDOUT, env=env).returncode
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"{' '.join(command)} failed ({code}); {log}:\n{tail}")


def run_variant(name: str, config: dict, seed: int, args: argparse.Namespace) -> None:
    """Train, enhance and score one variant; every step skips what is done."""
    exp = args.expdir / name
    exp.mkdir(parents=True, exist_ok=True)
    exclude = config.pop("init_exclude", [])
    path, log = args.expdir / f"{name}.yaml", args.expdir / f"{name}.log"
    with atomic_path(path) as tmp:
        tmp.write_text(yaml.safe_dump(config, sort_keys=False))
    dump = args.dumpdir / "raw"
    train = ["--train", dump / "train", "--valid", dump / "valid", "--tokens", args.tokens]
    train += ["--branches", args.branches]
    init = ["--init", args.init] if args.init else []
    if args.init and exclude:
        init += ["--init_exclude", *exclude]
    hybridse(log, "train", "--branch", args.branch, "--config", path, "--exp", exp, *train, *init,
             "--max_hours", args.hours, "--seed", seed)  # fmt: skip
    enhanced = exp / f"enhanced_{args.set}"
    hybridse(log, "enhance", dump / args.set / "wav.scp", enhanced, "--model", exp)
    score(log, enhanced / "spk1.scp", exp / f"scores_{args.set}", args)
    print(f"{name}: done", flush=True)


def last_epoch(log: Path) -> str:
    """Number of the last epoch and its validation values, as ESPnet logged them."""
    pattern = r"(\d+epoch) results:.*?\[valid\] (.*?), time="
    results = re.findall(pattern, log.read_text(errors="replace"))
    return ": ".join(results[-1]) if results else "no epoch was finished"


def score(log: Path, inf: Path, out: Path, args: argparse.Namespace) -> None:
    """Score one list against the clean set."""
    ref = args.dumpdir / "raw" / args.set / "spk1.scp"
    hybridse(log, "score", "--ref", ref, "--inf", inf, "--out", out, "--nj", 1,
             "--metrics", *args.metrics)  # fmt: skip


def over_seeds(folders: dict) -> str:
    """{variant: folders of scores} -> table of mean and standard deviation over seeds."""
    lines = []
    for name, outs in folders.items():
        means: dict = {}
        for out in outs:
            rows = read_rows(out / "scores.jsonl").values()
            for column in dict.fromkeys(column for row in rows for column in row["scores"]):
                values = [row["scores"][column] for row in rows]
                means.setdefault(column, []).append(fmean(v for v in values if v is not None))
        if not lines:
            lines = [["Variant", *means], [":--", *["--:"] * len(means)]]
        cells = [f"{fmean(v):.3f} ± {stdev(v):.3f}" for v in means.values()]
        lines.append([f"{name} ({len(outs)} seeds)", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", type=Path, help="YAML of variants")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the variants")
    parser.add_argument("--branch", choices=("disc", "gen", "hybrid"), required=True)
    parser.add_argument("--base", type=Path, required=True, help="training YAML that they change")
    parser.add_argument("--expdir", type=Path, required=True)
    parser.add_argument("--dumpdir", type=Path, default=Path("dump"))
    parser.add_argument("--tokens", type=Path, default=Path("dump/tokens_mini"))
    parser.add_argument("--branches", type=Path, default=Path("dump/branches_mini"))
    parser.add_argument("--disc", type=Path, help="trained branch of a hybrid")
    parser.add_argument("--gen", type=Path, help="trained branch of a hybrid")
    parser.add_argument("--init", type=Path, help="model folder that all start from")
    parser.add_argument("--hours", type=float, default=0.17, help="training of each")
    parser.add_argument("--jobs", type=int, default=2, help="variants side by side, a core each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", choices=("valid", "test"), default="valid", help="scored set")
    parser.add_argument("--metrics", nargs="+", default=["PESQ", "ESTOI", "SI-SDR"], metavar="M")
    args = parser.parse_args()
    base, variants = read_yaml(args.base), read_yaml(args.variants)
    if args.only:
        check_keys(args.only, variants, f"--only: {args.variants}")
        variants = {name: variants[name] for name in args.only}
    if args.branch == "hybrid":
        if not (args.disc and args.gen):
            parser.error("--branch hybrid needs --disc and --gen, the trained branches")
        folders = {"disc": str(args.disc.resolve()), "gen": str(args.gen.resolve())}
        base = merge(base, {"separator_conf": folders})
    args.expdir.mkdir(parents=True, exist_ok=True)
    noisy = args.expdir / "noisy"
    wavs = args.dumpdir / "raw" / args.set / "wav.scp"
    score(args.expdir / "noisy.log", wavs, noisy, args)
    several = len(args.seeds) > 1
    runs = {
        f"{name}_seed{seed}" if several else name: (name, seed)
        for name in variants
        for seed in args.seeds
    }
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = {
            run: pool.submit(run_variant, run, merge(base, variants[name]), seed, args)
            for run, (name, seed) in runs.items()
        }
        errors = {run: future.exception() for run, future in futures.items()}
    for error in filter(None, errors.values()):
        print(error, file=sys.stderr)
    done = {run: args.expdir / run / f"scores_{args.set}" for run in runs if not errors[run]}
    rows = [f"{run}={folder}" for run, folder in done.items()]
    table = ["score", "--table", f"Noisy={noisy}", *rows, "--results", args.expdir / "RESULTS.md"]
    hybridse(args.expdir / "table.log", *table)
    print((args.expdir / "RESULTS.md").read_text())
    for run in done:
        print(f"{run}: {last_epoch(args.expdir / run / 'train.log')}")
    if several:
        folders = {n: [done[r] for r in done if runs[r][0] == n] for n in variants}
        print("\n" + over_seeds({n: f for n, f in folders.items() if len(f) > 1}))
    return 1 if any(errors.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
