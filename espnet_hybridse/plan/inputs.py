"""Everything a plan starts from, checked, and written into the sheet with its source."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from espnet_hybridse.config import ConfigError
from espnet_hybridse.plan.calibration import Calibration, Published
from espnet_hybridse.plan.network import Counts
from espnet_hybridse.plan.sheet import Sheet
from espnet_hybridse.plan.workload import Workload
from espnet_hybridse.simulation.rendered import FLAC_SHARE

PARTS = ("disc", "gen", "fusion")
BATCHES = ("gpu", "all")
MOMENTS = {"sgd": 1, "adagrad": 1, "adadelta": 2, "rprop": 2, "rmsprop": 3, "asgd": 2}
"""Values that an optimiser keeps a parameter; two for Adam and its kin."""
XCODEC_GMAC_S = 12.1
"""Counted: the encoder of transformers' XcodecModel at its default size (160.7 M parameters)."""
LIST_BYTES = 1000
"""Of all lists of a set, an utterance: measured on the mini recipe, whose paths are short."""
TOKEN_BYTES = 4.9
"""An index below 1024 and a space, on average (3 digits are most frequent)."""


@dataclass(frozen=True)
class Options:
    """What is asked for.

    Attributes:
        valid, test, fusion: utterances of those sets, and training ones that stage 7 enhances.
        batch: "gpu": `batch_size` of the config is each GPU's; "all": that of all together, as the
            config says.
        hours: of each training; passes: over the training set; else the config's max_epoch.
        per_node: GPUs of one machine.
        link_gb_s, net_gb_s: between GPUs of a machine and between machines, GB/s for each GPU.
        cores: processor cores for each GPU.
        shard_gb: of archives.

    Raises:
        ConfigError: a value out of its range, or both hours and passes.
    """

    valid: int = 1000
    test: int = 1000
    fusion: int = 10000
    batch: str = "gpu"
    hours: Optional[float] = None
    passes: Optional[float] = None
    per_node: int = 8
    link_gb_s: float = 10.0
    net_gb_s: float = 1.25
    cores: int = 8
    shard_gb: float = 1.0

    def __post_init__(self):
        if self.batch not in BATCHES:
            raise ConfigError(f"--batch {self.batch} is not one of {', '.join(BATCHES)}")
        if self.hours is not None and self.passes is not None:
            raise ConfigError("--hours and --passes both say how long to train; give one of them")
        for name, value in vars(self).items():
            if name != "batch" and value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"--{name} {value}: expected a number above 0")


def write_inputs(
    sheet: Sheet,
    workload: Workload,
    options: Options,
    calibration: Calibration,
    configs: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, Counts],
    published: Optional[Published] = None,
) -> None:
    """Note every input of a plan."""
    where = workload.source
    sheet.given("data.train_utts", workload.num, "", "training utterances", where)
    sheet.given("data.mean_s", workload.mean_s, "s", "mean length of an utterance", where)
    for fs, share in workload.mix.items():
        sheet.given(f"mix.r{fs}", share, "", f"share of the utterances at {fs} Hz", where)
    for name, text in (
        ("valid", "validation utterances"),
        ("test", "test utterances"),
        ("fusion", "training utterances whose branch outputs stage 7 makes"),
    ):
        sheet.given(f"data.{name}_utts", getattr(options, name), "", text, f"--num_{name}")
    sheet.given(
        "data.flac_share", FLAC_SHARE, "", "FLAC by 16-bit samples", "measured (stage 2's check)"
    )
    sheet.given("data.list_bytes", LIST_BYTES, "B", "lists, an utterance", "mini recipe")
    sheet.given("data.token_bytes", TOKEN_BYTES, "B", "a token in text_int", "mean of 0 to 1023")
    sheet.given("data.shard_gb", options.shard_gb, "GB", "size of an archive", "--shard_gb")
    sheet.let(
        "data.mean_fs",
        " + ".join(f"mix.r{fs} * {fs}" for fs in workload.mix),
        "Hz",
        "mean rate of the utterances",
    )
    measured = f"{calibration.kind}: {calibration.machine['device']}"
    for stage, rate in calibration.audio_s_core_s.items():
        text = f"audio that a core does in a second of '{stage}'"
        source = calibration.notes.get("processor cores", measured)
        sheet.given(f"machine.{stage}_audio_s", rate, "s/s", text, source)
    source = published.source if published is not None else "--cores_per_gpu, --*_gb_s, --per_node"
    sheet.given("machine.cores", options.cores, "", "processor cores for each GPU", source)
    sheet.given("machine.per_node", options.per_node, "", "GPUs of one machine", source)
    sheet.given("machine.link_gb_s", options.link_gb_s, "GB/s", "between its GPUs", source)
    text = "between machines, for each GPU"
    sheet.given("machine.net_gb_s", options.net_gb_s, "GB/s", text, source)
    for part in PARTS:
        _write_part(sheet, part, workload, calibration, configs[part], counts[part])
    tokens = configs["gen"].get("separator_conf", {})
    if tokens.get("semantic", "wavlm") == "whisper":
        text, value = "encoder of the k-means tokens", counts["gen"].frozen_gmac_s
    else:
        text, value = "X-Codec's encoder", XCODEC_GMAC_S
    sheet.given("tokens.gmac_s", value, "GMAC", f"{text}, a second of audio", "counted")
    if calibration.read_gb_s is not None:
        source = calibration.notes["speed of the GPU"]
        text = "memory speed that decoding is bound by"
        sheet.given("machine.read_gb_s", calibration.read_gb_s, "GB/s", text, source)


def _write_part(
    sheet: Sheet,
    part: str,
    workload: Workload,
    calibration: Calibration,
    config: Mapping[str, Any],
    counts: Counts,
) -> None:
    rates, own = calibration.parts[part], f"{part} config"
    counted = f"counted: {counts.separator}"
    given: Dict[str, tuple] = {
        "trained": (counts.trained, "", "parameters that are trained", counted),
        "frozen": (counts.frozen, "", "parameters of the frozen speech encoder", counted),
        "lm_parameters": (counts.lm_parameters, "", "of the language model", counted),
        "frozen_gmac_s": (counts.frozen_gmac_s, "GMAC", "its forward pass, 1 s", counted),
        "batch_size": (config.get("batch_size", 20), "", "at 16 kHz", own),
        "keep": (_keep(config), "", "best epochs that are kept", own),
        "ema": (float(bool(config.get("ema_decay"))), "", "1: averaged weights", own),
        "moments": (MOMENTS.get(config.get("optim"), 2), "", "of the optimiser", own),
    }
    for fs in workload.mix:
        text = f"forward pass, 1 s at {fs} Hz"
        given[f"gmac_s.r{fs}"] = (counts.gmac_s[fs], "GMAC", text, counted)
    source = f"{calibration.kind}: {calibration.machine['device']}"
    if rates.counts.digest != counts.digest:
        source += "; of another network of this kind, scaled by multiply-accumulates"
    speed = calibration.notes.get("speed of the GPU", source)
    memory = calibration.notes.get("memory of activations", source)
    if rates.note:
        speed, memory = (f"{where}; BUT {rates.note}" for where in (speed, memory))
    given["train_gmac_s"] = (rates.train_gmac_s, "GMAC/s", "work of training", speed)
    given["overhead_s"] = (rates.overhead_s, "s", "of a step, however small", speed)
    given["infer_gmac_s"] = (rates.infer_gmac_s, "GMAC/s", "without gradients", speed)
    text = "activations, constant part"
    given["activation_mb"] = (rates.activation_mb, "MB", text, memory)
    text = "activations by the forward pass's GMAC"
    given["activation_mb_per_gmac"] = (rates.activation_mb_per_gmac, "MB", text, memory)
    for key, (value, unit, text, source) in given.items():
        sheet.given(f"{part}.{key}", value, unit, text, source)
    crop_s = (config.get("preprocessor_conf") or {}).get("chunk_s", 3.0)
    if crop_s is None:
        sheet.let(f"{part}.crop_s", "data.mean_s", "s", "whole utterances, one a batch")
    else:
        sheet.given(f"{part}.chunk_s", crop_s, "s", "crop", own)
        sheet.let(f"{part}.crop_s", f"min({part}.chunk_s, data.mean_s)", "s", "of an utterance")


def _keep(config: Mapping[str, Any]) -> int:
    keep = config.get("keep_nbest_models", 10)
    return max(keep) if isinstance(keep, list) else keep
