"""Stages 5, 6 and 8: time, memory, network and disk of one training."""

from typing import Any, Mapping, Sequence

from espnet_hybridse.fusion.branches import PIECES_AT_ONCE
from espnet_hybridse.plan.inputs import Options
from espnet_hybridse.plan.sheet import Sheet

STREAMS = {"disc": 2, "gen": 2, "fusion": 4}
"""Audio files that the loader reads for an utterance."""
VALID_PASSES = {"disc": 1, "gen": 2, "fusion": 1}
"""Forward passes of a validation: the generative branch's on gold history and on its own."""


def common(sheet: Sheet, part: str, rates: Sequence[int]) -> None:
    """What does not depend on the number of GPUs."""
    mean = " + ".join(f"mix.r{fs} * {part}.gmac_s.r{fs}" for fs in rates)
    sheet.let(f"{part}.gmac_s.mean", mean, "GMAC", "forward pass, 1 s of the mix")
    reading = ""
    if part == "gen" and "machine.read_gb_s" in sheet and sheet["gen.lm_parameters"]:
        # 50 tokens a second; a step reads the weights once for all pieces.
        reading = f" + 50 * 4 * gen.lm_parameters / 1e9 / machine.read_gb_s / {PIECES_AT_ONCE}"
    sheet.let(
        f"{part}.infer_s_s",
        f"{part}.gmac_s.mean / {part}.infer_gmac_s{reading}",
        "s/s",
        "inference, seconds of a GPU by those of audio",
    )
    sheet.let(
        f"{part}.weights_gb",
        f"4 * ({part}.trained + {part}.frozen) / 1e9",
        "GB",
        "weights in float32",
    )
    sheet.let(f"{part}.gradients_gb", f"4 * {part}.trained / 1e9", "GB", "gradients")
    sheet.let(
        f"{part}.optimiser_gb",
        f"4 * {part}.moments * {part}.trained / 1e9",
        "GB",
        "the optimiser's states",
    )
    sheet.let(f"{part}.ema_gb", f"4 * {part}.ema * {part}.trained / 1e9", "GB", "averaged weights")
    sheet.let(
        f"{part}.checkpoint_gb",
        f"{part}.gradients_gb * (1 + {part}.moments + {part}.ema)",
        "GB",
        "checkpoint.pth",
    )
    sheet.let(
        f"{part}.disk_gb",
        f"4 * {part}.checkpoint_gb + ({part}.keep + 3) * {part}.gradients_gb",
        "GB",
        "checkpoints and weights of the best epochs, as training asks for before it begins",
    )
    sheet.let(f"{part}.files", f"{part}.keep + 20", "", "weights, checkpoints, logs")


def training(
    sheet: Sheet, part: str, rates: Sequence[int], config: Mapping[str, Any], options: Options
) -> None:
    """One training on `run.gpus` GPUs: keys hours, gpu_hours, memory_gb, net_gb, read_mb_s."""
    whole = (config.get("preprocessor_conf") or {}).get("chunk_s", 3.0) is None
    for fs in rates:
        share = f"min(1, 16000 / {fs})"
        if options.batch == "gpu":
            formula = f"max(1, round({part}.batch_size * {share}))"
        else:
            total = f"max(1, round({part}.batch_size * {share}), run.gpus)"
            formula = f"ceil({total} / run.gpus)"
        sheet.let(f"{part}.batch.r{fs}", "1" if whole else formula, "", "utterances a GPU and step")
    inverse = " + ".join(f"mix.r{fs} / {part}.batch.r{fs}" for fs in rates)
    sheet.let(
        f"{part}.batch.mean",
        f"1 / ({inverse})",
        "",
        "utterances a GPU and step: batches have one rate each",
    )
    sheet.let(
        f"{part}.step_work",
        f"{part}.batch.mean * {part}.crop_s * (3 * {part}.gmac_s.mean - 2 * {part}.frozen_gmac_s)",
        "GMAC",
        "of a step: forward and twice that backward; a frozen encoder forward only",
    )
    _network(sheet, part)
    decode = _free_running(sheet, part, config)
    sheet.let(
        f"{part}.step_s",
        f"{part}.overhead_s + {part}.step_work / {part}.train_gmac_s + {part}.net_s{decode}",
        "s",
        "of a step; gradients are sent after it, not beside it: an upper bound",
    )
    _steps(sheet, part, config, options)
    sheet.let(
        f"{part}.passes_made",
        f"{part}.steps * {part}.batch.mean * run.gpus / data.train_utts",
        "",
        "passes over the training set",
    )
    sheet.let(
        f"{part}.valid_hours",
        f"{part}.epochs * {VALID_PASSES[part]} * data.valid_utts * {part}.crop_s"
        f" * {part}.infer_s_s / run.gpus / 3600",
        "h",
        "validation after each epoch",
    )
    sheet.let(
        f"{part}.hours",
        f"{part}.steps * {part}.step_s / 3600 + {part}.valid_hours",
        "h",
        "training",
    )
    sheet.let(f"{part}.gpu_hours", f"{part}.hours * run.gpus", "h", "of all GPUs")
    _memory(sheet, part, rates)
    sheet.let(
        f"{part}.read_mb_s",
        f"{STREAMS[part]} * {part}.batch.mean * run.gpus * data.file_mb / {part}.step_s",
        "MB/s",
        "that the loaders read: whole files, of which a crop is used",
    )
    sheet.let(
        f"{part}.opens_s",
        f"{STREAMS[part]} * {part}.batch.mean * run.gpus / {part}.step_s",
        "1/s",
        "files or archive entries opened",
    )


def _network(sheet: Sheet, part: str) -> None:
    sheet.let(
        f"{part}.net_gb",
        f"2 * (run.gpus - 1) / run.gpus * {part}.gradients_gb",
        "GB",
        "that a GPU sends in each step: all-reduce in a ring",
    )
    slowest = "link" if sheet["run.gpus"] <= sheet["machine.per_node"] else "net"
    sheet.let(f"{part}.net_s", f"{part}.net_gb / machine.{slowest}_gb_s", "s", "of sending it")


def _free_running(sheet: Sheet, part: str, config: Mapping[str, Any]) -> str:
    share = (config.get("separator_conf") or {}).get("free_running_prob", 0.0)
    if not share:
        return ""
    text = "share of the batches whose history is decoded"
    sheet.given(f"{part}.free_running", share, "", text, f"{part} config")
    sheet.let(
        f"{part}.decode_s",
        f"{part}.free_running * {part}.batch.mean * {part}.crop_s * {part}.infer_s_s",
        "s",
        "decoding, on average over the steps; taken as a whole inference: an upper bound",
    )
    return f" + {part}.decode_s"


def _steps(sheet: Sheet, part: str, config: Mapping[str, Any], options: Options) -> None:
    own = f"{part} config"
    epochs = config.get("max_epoch", 40)
    if options.hours is not None:
        sheet.given(f"{part}.budget_h", options.hours, "h", "of training", "--hours")
        formula = f"{part}.budget_h * 3600 / {part}.step_s"
    elif options.passes is not None:
        text = "over the training set"
        sheet.given(f"{part}.passes", options.passes, "", text, "--passes")
        formula = f"{part}.passes * data.train_utts / ({part}.batch.mean * run.gpus)"
    else:
        sheet.given(f"{part}.epochs", epochs, "", "max_epoch", own)
        iters = config.get("num_iters_per_epoch")
        if iters is None:
            each = f"data.train_utts / ({part}.batch.mean * run.gpus)"
        else:
            sheet.given(f"{part}.iters", iters, "", "num_iters_per_epoch on one GPU", own)
            # The same audio in all: more GPUs make fewer steps where each has a whole batch.
            each = f"{part}.iters / run.gpus" if options.batch == "gpu" else f"{part}.iters"
        formula = f"{part}.epochs * {each}"
    sheet.let(f"{part}.steps", formula, "", "of training")
    if f"{part}.epochs" not in sheet:
        iters = config.get("num_iters_per_epoch")
        each = f"data.train_utts / ({part}.batch.mean * run.gpus)"
        if iters is not None:
            sheet.given(f"{part}.iters", iters, "", "num_iters_per_epoch", own)
            each = f"{part}.iters"
        sheet.let(f"{part}.epochs", f"ceil({part}.steps / ({each}))", "", "validations")


def _memory(sheet: Sheet, part: str, rates: Sequence[int]) -> None:
    works = [f"{part}.batch.r{fs} * {part}.gmac_s.r{fs}" for fs in rates]
    worst = works[0] if len(works) == 1 else f"max({', '.join(works)})"
    sheet.let(
        f"{part}.activations_gb",
        f"({part}.activation_mb + {part}.activation_mb_per_gmac * {part}.crop_s * {worst}) / 1000",
        "GB",
        "activations of the largest batch",
    )
    copies = 1 if sheet["run.gpus"] == 1 else 2
    sheet.let(
        f"{part}.memory_gb",
        f"{part}.weights_gb + {copies} * {part}.gradients_gb + {part}.optimiser_gb"
        f" + {part}.ema_gb + {part}.activations_gb",
        "GB",
        "of each GPU"
        + ("; distributed training keeps gradients twice, in buckets too" if copies == 2 else ""),
    )
