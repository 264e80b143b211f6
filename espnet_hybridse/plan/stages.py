"""The recipe's stages: what each needs for one number of GPUs, and what they need together."""

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from espnet_hybridse.plan import training_stage
from espnet_hybridse.plan.inputs import Options
from espnet_hybridse.plan.sheet import Sheet

SUMMED = ("hours", "gpu_hours", "core_hours", "disk_gb", "files", "archived")
COLUMNS = (*SUMMED, "memory_gb", "step_s", "net_gb", "read_mb_s")
"""What a stage may need; keys of figures are `<stage>.<column>`."""
STAGES = {
    "data": (1, "data preparation"),
    "simulate": (2, "simulation"),
    "check": (3, "checks"),
    "tokens": (4, "tokens"),
    "disc": (5, "train Dis."),
    "gen": (6, "train Gen."),
    "branches": (7, "branch outputs"),
    "fusion": (8, "train Hybrid"),
    "enhance": (9, "enhance test set"),
    "score": (10, "score"),
}
"""Prefix of a stage's figures -> its number in run.sh and its name."""
SYSTEMS = 4
"""Noisy, Dis., Gen. and Hybrid are scored."""


@dataclass(frozen=True)
class Plan:
    """One number of GPUs."""

    gpus: int
    sheet: Sheet

    def row(self, stage: str) -> Dict[str, Optional[float]]:
        """Column -> what the stage needs; None where it needs none of it."""
        keys = {name: f"{stage}.{name}" for name in COLUMNS}
        return {name: self.sheet[key] if key in self.sheet else None for name, key in keys.items()}


def plan_of(
    inputs: Sheet, gpus: Sequence[int], configs: Mapping[str, Mapping[str, Any]], options: Options
) -> List[Plan]:
    """A plan for each number of GPUs; what does not depend on it is added to `inputs`.

    Args:
        inputs: of :func:`espnet_hybridse.plan.inputs.write_inputs`.
    """
    rates = [int(figure.key[len("mix.r") :]) for figure in inputs if figure.key.startswith("mix.r")]
    _amounts(inputs)
    for part in configs:
        training_stage.common(inputs, part, rates)
    _disk(inputs)
    plans = []
    for number in gpus:
        sheet = Sheet(inputs)
        sheet.given("run.gpus", number, "", "GPUs", "--gpus")
        sheet.let("run.cores", "run.gpus * machine.cores", "", "processor cores")
        _processor_stages(sheet)
        for part, config in configs.items():
            training_stage.training(sheet, part, rates, config, options)
        _inference_stages(sheet)
        _totals(sheet)
        plans.append(Plan(number, sheet))
    return plans


def _amounts(sheet: Sheet) -> None:
    for name, formula, text in (
        ("train_s", "data.train_utts * data.mean_s", "training audio"),
        ("valid_s", "data.valid_utts * data.mean_s", "validation audio"),
        ("test_s", "data.test_utts * data.mean_s", "test audio"),
        ("fusion_s", "data.fusion_utts * data.mean_s", "audio of stage 7's training utterances"),
        ("all_s", "data.train_s + data.valid_s + data.test_s", "all audio"),
    ):
        sheet.let(f"data.{name}", formula, "s", text)
    sheet.let("data.hours_of_audio", "data.train_s / 3600", "h", "training audio")
    sheet.let("data.utts", "data.train_utts + data.valid_utts + data.test_utts", "", "utterances")
    sheet.let(
        "data.file_mb",
        "data.mean_s * data.mean_fs * 2 * data.flac_share / 1e6",
        "MB",
        "a FLAC file of an utterance",
    )


def _disk(sheet: Sheet) -> None:
    """Bytes and files of the data stages."""
    for key, formula, unit, text in (
        ("data.disk_gb", "data.utts * data.list_bytes / 1e9", "GB", "lists"),
        ("data.files", "30", "", "lists of three sets"),
        (
            "data.download_gb",
            "data.train_utts * data.file_mb / 1000",
            "GB",
            "clean speech to be fetched and kept, if each is used once; noise is not in it",
        ),
        (
            "simulate.disk_gb",
            "data.utts * (2 * data.file_mb / 1000 + data.list_bytes / 1e9)",
            "GB",
            "noisy and clean files, lists",
        ),
        ("simulate.files", "2 * data.utts + 30", "", "two files an utterance, ten lists a set"),
        (
            "simulate.archived",
            "2 * (ceil(data.train_utts * data.file_mb / 1000 / data.shard_gb)"
            " + ceil(data.valid_utts * data.file_mb / 1000 / data.shard_gb)"
            " + ceil(data.test_utts * data.file_mb / 1000 / data.shard_gb)) + 30",
            "",
            "files if hybridse archive follows and the plain files are deleted",
        ),
        ("check.files", "4", "", "quarantine lists and a picture"),
        (
            "tokens.disk_gb",
            "(data.train_s + data.valid_s) * 50 * data.token_bytes / 1e9",
            "GB",
            "50 tokens a second as text",
        ),
        ("tokens.files", "6", "", "lists and manifests"),
        (
            "branches.disk_gb",
            "2 * (data.fusion_utts + data.valid_utts) * data.file_mb / 1000",
            "GB",
            "one file a branch and utterance",
        ),
        ("branches.files", "2 * (data.fusion_utts + data.valid_utts) + 12", "", "the same"),
        (
            "branches.archived",
            "2 * (ceil(data.fusion_utts * data.file_mb / 1000 / data.shard_gb)"
            " + ceil(data.valid_utts * data.file_mb / 1000 / data.shard_gb)) + 12",
            "",
            "files with archives",
        ),
        (
            "enhance.disk_gb",
            "3 * data.test_utts * data.file_mb / 1000",
            "GB",
            "one file a system and utterance",
        ),
        ("enhance.files", "3 * data.test_utts + 12", "", "the same"),
        (
            "enhance.archived",
            "3 * ceil(data.test_utts * data.file_mb / 1000 / data.shard_gb) + 12",
            "",
            "files with archives",
        ),
        ("score.disk_gb", f"{SYSTEMS} * data.test_utts * data.list_bytes / 1e9", "GB", "rows"),
        ("score.files", f"4 * {SYSTEMS}", "", "rows, settings, quarantine, table"),
    ):
        sheet.let(key, formula, unit, text)


def _processor_stages(sheet: Sheet) -> None:
    """Stages 2, 3 and 10 run on the cores beside the GPUs. Stage 1 only reads lists."""
    for stage, amount, text in (
        ("simulate", "data.all_s", "rendering"),
        ("check", "data.all_s", "reading and comparing every file"),
        ("score", f"{SYSTEMS} * data.test_s", "the metrics that were measured"),
    ):
        formula = f"{amount} / machine.{stage}_audio_s / 3600"
        sheet.let(f"{stage}.core_hours", formula, "h", f"of one core: {text}")
        sheet.let(f"{stage}.hours", f"{stage}.core_hours / run.cores", "h", "on all cores")


def _inference_stages(sheet: Sheet) -> None:
    """Stages 4, 7 and 9 run on the GPUs, each with a part of the list."""
    both = "(disc.infer_s_s + gen.infer_s_s)"
    three = "(2 * disc.infer_s_s + 2 * gen.infer_s_s + fusion.infer_s_s)"
    weights = "disc.weights_gb + gen.weights_gb"
    for stage, formula, text in (
        (
            "tokens",
            "(data.train_s + data.valid_s) * tokens.gmac_s / gen.train_gmac_s / 3600",
            "training and validation set, at the rate of training",
        ),
        ("branches", f"(data.fusion_s + data.valid_s) * {both} / 3600", "both branches"),
        ("enhance", f"data.test_s * {three} / 3600", "Dis., Gen., and Hybrid, which runs both"),
    ):
        sheet.let(f"{stage}.gpu_hours", formula, "h", text)
        sheet.let(f"{stage}.hours", f"{stage}.gpu_hours / run.gpus", "h", "on all GPUs")
    sheet.let("branches.memory_gb", weights, "GB", "weights; activations of 8 pieces come on top")
    formula = f"{weights} + fusion.weights_gb"
    sheet.let("enhance.memory_gb", formula, "GB", "weights; activations of 8 pieces come on top")
    for part in ("disc", "gen", "fusion"):
        sheet.let(
            f"{part}.core_hours", f"{part}.hours * run.cores", "h", "loaders, the GPUs' cores"
        )


def _totals(sheet: Sheet) -> None:
    for name in SUMMED:
        keys = [f"{stage}.{name}" for stage in STAGES]
        if name == "archived":  # stages without audio files have the same number either way
            keys = [key if key in sheet else f"{key.partition('.')[0]}.files" for key in keys]
        keys = [key for key in keys if key in sheet]
        sheet.let(f"total.{name}", " + ".join(keys), _unit(name), "stages 1 to 10")
    keys = [f"{stage}.memory_gb" for stage in STAGES if f"{stage}.memory_gb" in sheet]
    sheet.let("total.memory_gb", f"max({', '.join(keys)})", "GB", "that a GPU must have")


def _unit(name: str) -> str:
    return "h" if name.endswith("hours") else "GB" if name.endswith("_gb") else ""


def stage_rows(plan: Plan) -> List[Tuple[str, Dict[str, Optional[float]]]]:
    """(title, needs) of every stage and of all together."""
    rows = [(f"{number} {name}", plan.row(key)) for key, (number, name) in STAGES.items()]
    return [*rows, ("together", plan.row("total"))]
