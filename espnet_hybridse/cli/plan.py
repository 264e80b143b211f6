"""`hybridse plan`: what the recipe needs before it is run."""

import argparse
from pathlib import Path
from typing import Any, Dict, Optional

from espnet_hybridse.config import ConfigError, check_train_config
from espnet_hybridse.lists import write_json
from espnet_hybridse.plan import report
from espnet_hybridse.plan.calibration import (
    PUBLISHED,
    STORED,
    Calibration,
    derive,
    load,
)
from espnet_hybridse.plan.data_rates import METRICS
from espnet_hybridse.plan.inputs import BATCHES, PARTS, Options, write_inputs
from espnet_hybridse.plan.network import Counts, check_part, count_network, digest_of
from espnet_hybridse.plan.sheet import Sheet
from espnet_hybridse.plan.stages import plan_of
from espnet_hybridse.plan.workload import Workload, parse_mix, read_workload


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", default="paper", help="folder of conf/: mini, fast or paper")
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, metavar="YAML", help="in place of the preset's")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="training set: a rendered folder, a list 'uid fs path' or a wav.scp",
    )
    parser.add_argument("--num_utts", type=int, help="training utterances; with --data: so many")
    parser.add_argument("--mean_s", type=float, help="their mean length in seconds")
    parser.add_argument(
        "--fs_mix", nargs="+", metavar="FS=SHARE", help="rates in Hz; else the seven rates alike"
    )
    parser.add_argument("--num_valid", type=int, default=1000, help="validation utterances")
    parser.add_argument("--num_test", type=int, default=1000, help="test utterances")
    parser.add_argument("--num_fusion", type=int, help="of stage 7; else 10000, at most all")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], help="numbers to plan")
    parser.add_argument(
        "--batch",
        choices=BATCHES,
        default="gpu",
        help="whose the config's batch_size is: each GPU's, with fewer steps the more there are, "
        "or all GPUs' together, as hybridse train takes it",
    )
    parser.add_argument("--hours", type=float, help="length of each training; else max_epoch")
    parser.add_argument("--passes", type=float, help="passes over the training set; else max_epoch")
    speeds = parser.add_argument_group("speeds: one of")
    speeds.add_argument(
        "--calibrate", action="store_true", help="measure this machine, GPU if there is one"
    )
    speeds.add_argument(
        "--machine", choices=tuple(PUBLISHED), help="derived from published figures, not measured"
    )
    speeds.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="measured before; --calibrate writes it here; with --machine: only the memory of "
        "activations and the processor's rates are taken from it",
    )
    parser.add_argument("--limit_s", type=float, default=120.0, help="of the calibration, about")
    parser.add_argument("--device", default="auto", help="of the calibration: auto, cpu or cuda")
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), help="stage 10's")
    parser.add_argument("--utilisation", type=float, help="share of the peak, with --machine")
    parser.add_argument("--cores_per_gpu", type=int, help="else as calibrated or published")
    parser.add_argument("--per_node", type=int, help="GPUs of one machine; else 8")
    parser.add_argument("--link_gb_s", type=float, help="GB/s between its GPUs, each; else 10")
    parser.add_argument(
        "--net_gb_s", type=float, help="GB/s between machines, each GPU; else 1.25 (10 Gbit/s)"
    )
    parser.add_argument("--shard_gb", type=float, default=1.0, help="size of an archive")
    parser.add_argument("--brief", action="store_true", help="print tables without formulas")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure here too")


def run(args: argparse.Namespace) -> int:
    if not args.gpus or min(args.gpus) < 1:
        raise ConfigError(f"--gpus {args.gpus}: expected numbers above 0")
    workload = workload_of(args)
    configs = configs_of(args)
    known = known_counts(args)
    counts = {}
    for part, config in configs.items():
        digest = digest_of(config)
        counts[part] = known[digest] if digest in known else count_network(config)
    calibration = calibration_of(args, configs, counts)
    published = PUBLISHED[args.machine] if args.machine else None
    options = options_of(args, workload, calibration)
    inputs = Sheet()
    write_inputs(inputs, workload, options, calibration, configs, counts, published)
    plans = plan_of(inputs, args.gpus, configs, options)
    print(report.text_of(plans, inputs, calibration, not args.brief))
    if args.json:
        given = {"gpus": args.gpus, "workload": workload.source, **vars(options)}
        write_json(args.json, report.as_dict(plans, inputs, calibration, given))
        print(f"\nwritten: {args.json}")
    return 0


def workload_of(args: argparse.Namespace) -> Workload:
    """Of --data, or of --num_utts and --mean_s; the latter change a list's.

    Raises:
        ConfigError: neither is given.
    """
    if args.data is None:
        if args.num_utts is None or args.mean_s is None:
            raise ConfigError(
                "how much data? Name --data (a folder or a list), or --num_utts N --mean_s S"
            )
        return Workload(args.num_utts, args.mean_s, parse_mix(args.fs_mix), "--num_utts, --mean_s")
    found = read_workload(args.data)
    source = found.source
    for name in ("num_utts", "mean_s", "fs_mix"):
        if getattr(args, name) is not None:
            source += f"; --{name}"
    return Workload(
        found.num if args.num_utts is None else args.num_utts,
        found.mean_s if args.mean_s is None else args.mean_s,
        parse_mix(args.fs_mix) if args.fs_mix else found.mix,
        source,
    )


def configs_of(args: argparse.Namespace) -> Dict[str, Dict[str, Any]]:
    """disc, gen, fusion -> checked training YAML."""
    from espnet_hybridse.cli.bench.common import preset_config

    configs = {}
    for part in PARTS:
        path = getattr(args, part) or preset_config(args.preset, f"train_{part}.yaml")
        configs[part] = check_train_config(path)
        check_part(part, configs[part], str(path))
    return configs


def known_counts(args: argparse.Namespace) -> Dict[str, Counts]:
    """Networks that were counted before, by digest: in the given calibration and the stored one."""
    files = [STORED]
    if args.calibration is not None and not args.calibrate:
        files.append(args.calibration)
    parts = [part for file in files if file.is_file() for part in load(file).parts.values()]
    return {part.counts.digest: part.counts for part in parts}


def calibration_of(
    args: argparse.Namespace, configs: Dict[str, Dict[str, Any]], counts: Dict[str, Counts]
) -> Calibration:
    """The speeds that were asked for.

    Raises:
        ConfigError: none, or two kinds of them.
    """
    if args.machine and args.calibrate:
        raise ConfigError("--machine is for speeds that nobody measured; leave --calibrate out")
    if args.utilisation is not None and not args.machine:
        raise ConfigError("--utilisation is the assumption of --machine; measured speeds need none")
    if args.machine:
        precisions = {
            part: "bfloat16" if config.get("use_amp") else "float32"
            for part, config in configs.items()
        }
        like = load(args.calibration or STORED)
        return derive(PUBLISHED[args.machine], like, precisions, args.utilisation)
    if args.calibrate:
        from espnet_hybridse.device import device_of
        from espnet_hybridse.plan.calibrate import calibrate

        made = calibrate(configs, device_of(args.device), args.limit_s, args.metrics, counts)
        if args.calibration:
            made.save(args.calibration)
        return made
    if args.calibration is None:
        raise ConfigError(
            "how fast? --calibrate measures this machine in about two minutes, --calibration FILE "
            f"takes what was measured before, --machine {'|'.join(PUBLISHED)} published figures"
        )
    return load(args.calibration)


def options_of(args: argparse.Namespace, workload: Workload, calibration: Calibration) -> Options:
    """What is given on the command line, else the machine's."""
    machine: Dict[str, Any] = {"cores": calibration.cores}
    if args.machine:
        known = PUBLISHED[args.machine]
        machine = {name: getattr(known, name) for name in ("per_node", "link_gb_s", "net_gb_s")}
        machine["cores"] = known.cores
    elif calibration.device == "cpu":
        machine["per_node"] = 1  # a "GPU" is a whole machine

    def chosen(name: str, value: Optional[float]) -> None:
        if value is not None:
            machine[name] = value

    chosen("cores", args.cores_per_gpu)
    for name in ("per_node", "link_gb_s", "net_gb_s"):
        chosen(name, getattr(args, name))
    fusion = min(Options.fusion, workload.num) if args.num_fusion is None else args.num_fusion
    if fusion > workload.num:
        raise ConfigError(f"--num_fusion {fusion} of {workload.num} training utterances")
    return Options(
        valid=args.num_valid,
        test=args.num_test,
        fusion=fusion,
        batch=args.batch,
        hours=args.hours,
        passes=args.passes,
        shard_gb=args.shard_gb,
        **machine,
    )
