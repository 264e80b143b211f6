"""A plan for the reader: tables, then every number with its formula; and the same as JSON."""

import math
from typing import Any, Dict, Iterable, List, Mapping, Sequence

from espnet_hybridse.bench.table import markdown
from espnet_hybridse.plan.calibration import Calibration
from espnet_hybridse.plan.inputs import PARTS
from espnet_hybridse.plan.sheet import Figure, Sheet
from espnet_hybridse.plan.stages import STAGES, Plan, stage_rows

TITLES = {
    "hours": "hours",
    "gpu_hours": "GPU hours",
    "core_hours": "core hours",
    "memory_gb": "GB a GPU",
    "disk_gb": "disk GB",
    "files": "files",
    "archived": "files, archived",
    "step_s": "s a step",
    "net_gb": "GB sent a step",
    "read_mb_s": "MB/s read",
}


def number(value: float) -> str:
    """Three significant digits, or all of a whole number; thousands apart."""
    if math.isfinite(value) and float(value).is_integer():
        return f"{int(value):,}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}" if digits > 0 else f"{round(value):,}"


def table(plan: Plan) -> str:
    """The stages and their sum, as Markdown."""
    rows = []
    for title, needs in stage_rows(plan):
        cells = {name: number(value) for name, value in needs.items() if value is not None}
        rows.append({"stage": title, **cells})
    columns = {"stage": ("stage", "{}"), **{name: (TITLES[name], "{}") for name in TITLES}}
    return markdown(rows, columns)


def notes(calibration: Calibration) -> str:
    """What the speeds are of; a derived one says so first."""
    facts = {"speeds": f"{calibration.kind} on {calibration.machine['device']}"}
    facts.update(calibration.machine if calibration.kind == "measured" else {})
    facts.update(calibration.notes)
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def too_large(plan: Plan, calibration: Calibration) -> List[str]:
    """What does not fit into a GPU, and the way out."""
    room, found = calibration.memory_gb, []
    for part in PARTS:
        needed = plan.sheet[f"{part}.memory_gb"]
        if room is not None and needed > room:
            found.append(
                f"{part}: {number(needed)} GB do not fit into a GPU's {number(room)}; lower "
                "batch_size or chunk_s, or set activation_checkpointing (tfgridnet_sfi)"
            )
    return found


def line_of(figure: Figure) -> str:
    """One figure: result, unit, and formula with its values, or source."""
    unit = f" {figure.unit}" if figure.unit else ""
    head = f"{figure.key} = {number(figure.value)}{unit} ({figure.text})"
    if figure.formula is None:
        return f"{head}; {figure.source}"
    values = ", ".join(f"{key} {number(value)}" for key, value in figure.inputs.items())
    return f"{head}\n    = {figure.formula}" + (f"\n    with {values}" if values else "")


def lines_of(figures: Iterable[Figure]) -> str:
    """Figures one below the other."""
    return "\n".join(map(line_of, figures))


def text_of(
    plans: Sequence[Plan], inputs: Sheet, calibration: Calibration, formulas: bool = True
) -> str:
    """All of it."""
    blocks = [notes(calibration)]
    for plan in plans:
        blocks.append(f"## {plan.gpus} GPU{'s' * (plan.gpus > 1)}\n\n{table(plan)}")
        blocks += too_large(plan, calibration)
    blocks.append(LEGEND)
    if formulas:
        blocks.append(f"## Every number: what holds for any number of GPUs\n\n{lines_of(inputs)}")
        for plan in plans:
            own = lines_of(plan.sheet.figures.values())
            blocks.append(f"## Every number: {plan.gpus} GPU{'s' * (plan.gpus > 1)}\n\n{own}")
    return "\n\n".join(blocks)


LEGEND = """\
hours: of the clock, stages one after the other. GB a GPU: with weights, gradients, optimiser and
activations. files: one inode each; archived: with hybridse archive after stages 2, 7 and 9. GB sent
a step: by each GPU. MB/s read: by all loaders together."""


def as_dict(
    plans: Sequence[Plan], inputs: Sheet, calibration: Calibration, given: Mapping[str, Any]
) -> Dict[str, Any]:
    """For JSON: every figure with value, unit, formula and the values in it."""
    return {
        "speeds": calibration.kind,
        "machine": dict(calibration.machine),
        "notes": dict(calibration.notes),
        "given": dict(given),
        "stages": {key: {"number": n, "name": name} for key, (n, name) in STAGES.items()},
        "figures": figures_of(inputs),
        "gpus": {
            str(plan.gpus): {
                "needs": {key: plan.row(key) for key in (*STAGES, "total")},
                "too_large": too_large(plan, calibration),
                "figures": figures_of(plan.sheet.figures.values()),
            }
            for plan in plans
        },
    }


def figures_of(figures: Iterable[Figure]) -> List[Dict[str, Any]]:
    """Figures as JSON's rows; an input has a source, a result a formula and its inputs."""
    return [vars(figure).copy() for figure in figures]
