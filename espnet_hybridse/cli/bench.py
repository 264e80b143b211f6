"""`hybridse bench`: speed and memory beside the peers, measured in one run."""

import argparse
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, List

import torch

from espnet_hybridse.audio import RATES
from espnet_hybridse.bench import disc, fusion, gen, gen_branch
from espnet_hybridse.bench import score as score_bench
from espnet_hybridse.bench.disc_systems import SYSTEMS
from espnet_hybridse.bench.machine import describe
from espnet_hybridse.bench.table import markdown
from espnet_hybridse.config import ConfigError, check_arguments, read_yaml
from espnet_hybridse.device import device_of
from espnet_hybridse.discriminative.tfgridnet_sfi import TFGridNetSFI
from espnet_hybridse.fusion.uses_fusion import USESFusion
from espnet_hybridse.generative.ar_refiner import ARRefiner
from espnet_hybridse.lists import write_json
from espnet_hybridse.quality.config import SQAConfig

CONF = (Path(__file__).resolve().parents[2] / "conf", Path("conf"))
"""Where the presets are: beside the package, or in the working directory."""
SECONDS = {"cpu": 0.25, "cuda": 4.0}
"""Audio in each call of `disc` by default: on two cores all of it takes less than ten minutes."""
OPTIONAL = ("ours_compile",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    text = "TF-GridNet-SFI beside ESPnet's TFGridNetV3 and the challenge baseline's BSRNN"
    form = argparse.ArgumentDefaultsHelpFormatter
    add_disc(what.add_parser("disc", help=text, description=text, formatter_class=form))
    text = "the generative branch's decoding beside transformers' generate; its real-time factor"
    add_gen(what.add_parser("gen", help=text, description=text, formatter_class=form))
    text = "a training step of the fusion without and with the learned quality term"
    add_fusion(what.add_parser("fusion", help=text, description=text, formatter_class=form))
    text = "rendering of noisy speech beside a plain reading of the challenge's procedure"
    add_simulate(what.add_parser("simulate", help=text, description=text, formatter_class=form))
    text = "'hybridse score' beside a plain loop that reads every file once for every metric"
    add_score(what.add_parser("score", help=text, description=text, formatter_class=form))


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every benchmark."""
    parser.add_argument("--repeat", type=int, default=3, help="timed calls; the fastest counts")
    parser.add_argument(
        "--limit_s", type=float, default=30.0, help="no further timed calls after so many seconds"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of PyTorch on CPU; else its own choice")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")


def add_disc(parser: argparse.ArgumentParser) -> None:
    keys = " ".join(SYSTEMS)
    parser.add_argument("--preset", nargs="+", default=["paper", "fast"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_disc.yaml files, no preset"
    )
    parser.add_argument(
        "--rates", nargs="+", type=int, default=[16000, 48000], metavar="HZ", help=f"of {RATES}"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"of audio in each call; else {SECONDS['cpu']} on CPU, {SECONDS['cuda']} on a GPU",
    )
    parser.add_argument("--batch", type=int, default=1, help="utterances in each call")
    parser.add_argument("--systems", nargs="+", metavar="S", help=f"some of {keys}")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--skip_training", action="store_true", help="inference only")
    add_common(parser)


def add_gen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="+", default=["paper"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_gen.yaml files, no preset"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of speech to decode: 50 tokens each"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="utterances at once")
    parser.add_argument(
        "--systems",
        nargs="+",
        metavar="S",
        help=f"some of {' '.join(gen.SYSTEMS)}; else all that the device runs",
    )
    parser.add_argument("--file_s", type=float, default=60.0, help="recording for the whole branch")
    parser.add_argument("--fs", type=int, default=16000, help="its rate in Hz")
    parser.add_argument("--skip_branch", action="store_true", help="decoding only")
    add_common(parser)
    parser.set_defaults(limit_s=60.0)


def add_fusion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", nargs="+", default=["mini", "paper"], help="folders of conf/")
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="YAML", help="train_fusion.yaml files, no preset"
    )
    parser.add_argument("--sqa", type=Path, help="of hybridse train-sqa; else conf/mini/sqa.yaml")
    parser.add_argument("--rate", type=int, default=16000, metavar="HZ", help=f"of {RATES}")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each utterance")
    parser.add_argument("--batch", type=int, default=4, help="utterances in a step")
    keys = list(fusion.SYSTEMS)
    parser.add_argument(
        "--systems", nargs="+", default=keys, metavar="S", help=f"some of {' '.join(keys)}"
    )
    add_common(parser)
    parser.set_defaults(limit_s=60.0)


def add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sources", type=Path, help="source folder; else made for the purpose")
    parser.add_argument("--num", type=int, default=40, help="samples of each row")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], help="processes in the last rows"
    )
    parser.add_argument("--skip_plain", action="store_true", help="ours only")
    parser.add_argument("--repeat", type=int, default=3, help="timed calls; the fastest counts")
    parser.add_argument(
        "--limit_s", type=float, default=60.0, help="no further timed calls after so many seconds"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")


def add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ref", type=Path, required=True, metavar="SCP", help="clean files")
    parser.add_argument("--inf", type=Path, required=True, metavar="SCP", help="enhanced files")
    default = list(score_bench.DEFAULT)
    parser.add_argument("--metrics", nargs="+", default=default, metavar="M", help="all, or some")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2], help="processes to try")
    parser.add_argument("--max_utts", type=int, default=40, help="first so many of the list")
    parser.add_argument("--skip_plain", action="store_true", help="without the plain loop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here too")
    parser.set_defaults(device="cpu", threads=None)


def run(args: argparse.Namespace) -> int:
    if args.what == "simulate":
        return run_simulate(args)
    device = device_of(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    runs = {"disc": run_disc, "gen": run_gen, "fusion": run_fusion, "score": run_score}
    return runs[args.what](args, device)


def run_disc(args: argparse.Namespace, device: torch.device) -> int:
    systems = args.systems or [key for key in SYSTEMS if key not in OPTIONAL]
    if args.compile and "ours_compile" not in systems:
        systems.append("ours_compile")
    settings = disc.Settings(
        device,
        args.rates,
        systems,
        SECONDS[device.type] if args.seconds is None else args.seconds,
        args.batch,
        args.repeat,
        args.limit_s,
        not args.skip_training,
        args.threads,
    )
    options = {
        name: separator_conf(config, "tfgridnet_sfi", TFGridNetSFI)
        for name, config in configs(args, "train_disc.yaml").items()
    }
    report = Report(args, {**asdict(settings), "separator_conf": options}, device)
    for name, own in options.items():
        for rows in disc.run(own, settings):
            title = f"{name}, {disc.title(rows, settings)}"
            report.table(name, title, disc.as_dicts(rows), disc.COLUMNS)
    return report.end(disc.LEGEND)


def run_gen(args: argparse.Namespace, device: torch.device) -> int:
    every = [key for key in gen.SYSTEMS if key != "int8" or device.type == "cpu"]
    systems = args.systems or every
    settings = gen.Settings(
        device, systems, args.seconds, args.batch, args.repeat, args.limit_s, args.threads
    )
    gen_branch.check(args.file_s, [key for key in systems if key != gen.PEER])
    given = configs(args, "train_gen.yaml")
    options = {name: separator_conf(c, "ar_refiner", ARRefiner) for name, c in given.items()}
    report = Report(args, {**asdict(settings), "separator_conf": options}, device)
    for name, own in options.items():
        for rows in gen.run(lm_sizes(own), settings):
            title = f"{name}, {rows[0].batch} x {settings.frames} frames of prefix and tokens"
            report.table(name, title, gen.as_dicts(rows), gen.COLUMNS)
        dtypes = [key for key in systems if key != gen.PEER]
        if dtypes and not args.skip_branch:
            config = read_yaml(given[name])
            rows = gen_branch.run(config, device, args.file_s, args.fs, dtypes, args.batch)
            title = f"{name}, whole branch, {args.file_s:g} s at {args.fs} Hz"
            report.table(name, title, gen_branch.as_dicts(rows), gen_branch.COLUMNS)
    return report.end(gen.LEGEND)


def run_fusion(args: argparse.Namespace, device: torch.device) -> int:
    settings = fusion.Settings(
        device,
        args.systems,
        args.rate,
        args.seconds,
        args.batch,
        args.repeat,
        args.limit_s,
        args.threads,
    )
    small = SQAConfig.read(args.sqa or preset_config("mini", "sqa.yaml"))
    network = {**small.network, "heads": tuple(small.heads)}
    given = configs(args, "train_fusion.yaml")
    for path in given.values():
        separator_conf(path, "uses_fusion", USESFusion)
    report = Report(args, asdict(settings), device)
    for name, path in given.items():
        rows = fusion.run(read_yaml(path), network, settings)
        title = f"{name}, {settings.batch} x {settings.seconds:g} s at {settings.fs} Hz"
        report.table(name, title, rows, fusion.COLUMNS)
    return report.end(fusion.LEGEND)


def run_simulate(args: argparse.Namespace) -> int:
    from espnet_hybridse.bench import simulate
    from espnet_hybridse.simulation.sources import Sources

    settings = simulate.Settings(
        args.num, args.repeat, args.limit_s, args.workers, not args.skip_plain
    )
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        if args.sources:
            sources = Sources.from_folder(args.sources)
        else:
            sources = simulate.make_bench_sources(scratch / "sources", settings.seed)
        given = {**asdict(settings), "sources": str(args.sources or "made here")}
        report = Report(args, given, torch.device("cpu"))
        rows = simulate.as_dicts(simulate.run(sources, scratch, settings))
        report.table("simulate", f"{settings.num} utterances", rows, simulate.COLUMNS)
    return report.end(simulate.legend())


def run_score(args: argparse.Namespace, device: torch.device) -> int:
    settings = score_bench.Settings(
        args.ref, args.inf, args.metrics, args.workers, args.max_utts, not args.skip_plain
    )
    report = Report(args, {"metrics": args.metrics, "max_utts": args.max_utts}, device)
    rows = [score_bench.as_dict(row) for row in score_bench.run(settings)]
    report.table("score", "Scoring", rows, score_bench.columns_of(args.workers))
    return report.end(score_bench.LEGEND)


class Report:
    """Prints every table as it is there and keeps the JSON file up to date with it.

    Args:
        given: settings to put into the file.
    """

    def __init__(self, args: argparse.Namespace, given: Dict[str, Any], device: torch.device):
        facts = describe(device)
        print("\n".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
        self.file, self.given = args.json, {**given, **facts}
        self.results: List[Dict[str, Any]] = []

    def table(self, config: str, title: str, rows: List[Dict[str, Any]], columns: Dict) -> None:
        print(f"\n{title}\n\n{markdown(rows, columns)}", flush=True)
        self.results += [{"config": config, **row} for row in rows]
        if self.file:  # again after every table: a long run can be stopped
            write_json(self.file, {**self.given, "rows": self.results})

    def end(self, legend: str) -> int:
        print(f"\n{legend}")
        if self.file:
            print(f"\nwritten: {self.file}")
        return 0


def configs(args: argparse.Namespace, file: str) -> Dict[str, Path]:
    """Name of each table -> training YAML."""
    if args.config:
        return {str(path): path for path in args.config}
    return {name: preset_config(name, file) for name in args.preset}


def lm_sizes(own: Dict[str, Any]) -> Dict[str, Any]:
    """TokenLM's options in a separator_conf of ARRefiner."""
    names = {"lm_layers": "layers", "lm_dim": "dim", "lm_heads": "heads", "lm_ffn": "ffn"}
    names["vocab_size"] = "vocab_size"
    return {ours: own[theirs] for theirs, ours in names.items() if theirs in own}


def preset_config(preset: str, file: str) -> Path:
    """The training YAML of a preset, e.g. its train_disc.yaml.

    Raises:
        ConfigError: there is none of that name.
    """
    found = {}
    for conf in reversed(CONF):
        found.update({path.parent.name: path for path in sorted(conf.glob(f"*/{file}"))})
    if preset not in found:
        accepted = f"one of {', '.join(sorted(found))}" if found else "here, nor is any other"
        raise ConfigError(f"--preset {preset} is not {accepted}; --config takes a {file}")
    return found[preset]


def separator_conf(path: Path, name: str, build: type) -> Dict[str, Any]:
    """The separator's options in a training YAML.

    Raises:
        ConfigError: no such file, an unknown key, or another separator.
    """
    config = read_yaml(path)
    if config.get("separator") != name:
        raise ConfigError(f"{path}: separator {config.get('separator')!r}; expected {name!r}")
    own = config.get("separator_conf") or {}
    check_arguments(build, own, f"{path}: separator_conf")
    return own
