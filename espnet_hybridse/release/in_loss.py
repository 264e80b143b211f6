"""Which columns of the results table a model was trained on: they are no judges of it."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from espnet_hybridse.model.files import WEIGHTS_STAMP, ModelFiles
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.sqa.backends import columns_of

CRITERIONS = {
    "estoi": ("ESTOI",),
    "pmsqe": ("PESQ",),
    "si_snr": ("SI-SDR",),
    "ci_sdr": ("SI-SDR",),
    "snr": ("SI-SDR",),
}
"""Criterion -> columns that are the same measure, or that it was made to follow."""
KEY = "in_loss"
"""Of a packed configuration, which leaves out the criterion itself."""


def columns_in_loss(files: ModelFiles) -> list[str]:
    """The columns behind a model's criterions and those of its parts, in the table's order.

    And behind those of the model that its training began from (`--init`): what that had learned to
    please is in the weights still.
    """
    found = _columns(files, set())
    return [name for name in METRICS if name in found]


def _columns(files: ModelFiles, seen: set[Path]) -> set[str]:
    seen.add(files.config_file.resolve())
    found = set(files.config.get(KEY) or ())
    for criterion in files.config.get("criterions") or ():
        if (criterion.get("wrapper_conf") or {}).get("weight", 1.0):
            found.update(_of_criterion(criterion, files.config))
    before = [*files.parts.values(), *_began_from(files)]
    for model in before:
        if model.config_file.resolve() not in seen:
            found |= _columns(model, seen)
    return found


def _began_from(files: ModelFiles) -> Iterator[ModelFiles]:
    """The models that the training began from, so far as they are still where it found them."""
    for given in files.config.get("init_param") or ():
        folder = Path(str(given).partition(":")[0]).parent
        try:
            yield ModelFiles.read(folder)
        except (FileNotFoundError, ValueError):
            logging.warning(
                f"{files.config_file} began from {folder}, which is no model that can be read from "
                "here: which metrics were in its loss is not known"
            )


def _of_criterion(criterion: Mapping, config: Mapping) -> tuple[str, ...]:
    conf = criterion.get("conf") or {}
    if conf.get("only_for_test"):
        return ()
    if criterion["name"] != "sqa":
        return CRITERIONS.get(criterion["name"], ())
    return columns_of(config.get("sqa_checkpoint") or conf.get("checkpoint"))


def model_behind(enhanced: Path) -> ModelFiles | None:
    """The model that `hybridse enhance` made these files with: a folder, or a list in one.

    None where it was another system, or one that is no longer there.
    """
    folder = enhanced if enhanced.is_dir() else enhanced.parent
    stamp = folder / WEIGHTS_STAMP
    if not stamp.is_file():
        return None
    first = stamp.read_text(encoding="utf-8").partition("\n")[0]
    weights = first.rpartition(" ")[0]
    try:
        return ModelFiles.read(Path(weights).parent)
    except (FileNotFoundError, ValueError):
        return None
