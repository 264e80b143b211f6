#!/usr/bin/env python3
"""Train variants of one branch for the same time and tabulate their scores on the valid set.

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

import yaml

from espnet_hybridse.config import read_yaml
from espnet_hybridse.lists import atomic_path


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


def run_variant(name: str, config: dict, args: argparse.Namespace) -> None:
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
             "--max_hours", args.hours, "--seed", args.seed)  # fmt: skip
    valid = dump / "valid"
    hybridse(log, "enhance", valid / "wav.scp", exp / "enhanced_valid", "--model", exp)
    score(log, exp / "enhanced_valid" / "spk1.scp", exp / "scores_valid", args)
    print(f"{name}: done", flush=True)


def last_epoch(log: Path) -> str:
    """Number of the last epoch and its validation values, as ESPnet logged them."""
    pattern = r"(\d+epoch) results:.*?\[valid\] (.*?), time="
    results = re.findall(pattern, log.read_text(errors="replace"))
    return ": ".join(results[-1]) if results else "no epoch was finished"


def score(log: Path, inf: Path, out: Path, args: argparse.Namespace) -> None:
    """Score one list against the clean valid set."""
    ref = args.dumpdir / "raw" / "valid" / "spk1.scp"
    hybridse(log, "score", "--ref", ref, "--inf", inf, "--out", out, "--nj", 1,
             "--metrics", *args.metrics)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", type=Path, help="YAML of variants")
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--metrics", nargs="+", default=["PESQ", "ESTOI", "SI-SDR"], metavar="M")
    args = parser.parse_args()
    base, variants = read_yaml(args.base), read_yaml(args.variants)
    if args.branch == "hybrid":
        if not (args.disc and args.gen):
            parser.error("--branch hybrid needs --disc and --gen, the trained branches")
        folders = {"disc": str(args.disc.resolve()), "gen": str(args.gen.resolve())}
        base = merge(base, {"separator_conf": folders})
    args.expdir.mkdir(parents=True, exist_ok=True)
    noisy = args.expdir / "noisy"
    score(args.expdir / "noisy.log", args.dumpdir / "raw/valid/wav.scp", noisy, args)
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [
            pool.submit(run_variant, name, merge(base, changes), args)
            for name, changes in variants.items()
        ]
        errors = [future.exception() for future in futures]
    for error in filter(None, errors):
        print(error, file=sys.stderr)
    rows = [f"{name}={args.expdir}/{name}/scores_valid"
            for name, error in zip(variants, errors, strict=True) if error is None]  # fmt: skip
    table = ["score", "--table", f"Noisy={noisy}", *rows, "--results", args.expdir / "RESULTS.md"]
    hybridse(args.expdir / "table.log", *table)
    print((args.expdir / "RESULTS.md").read_text())
    for name, error in zip(variants, errors, strict=True):
        if error is None:
            print(f"{name}: {last_epoch(args.expdir / name / 'train.log')}")
    return 1 if any(errors) else 0


if __name__ == "__main__":
    sys.exit(main())
