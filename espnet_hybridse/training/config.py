"""Checks of a training configuration before anything is built: unknown keys are named."""

from pathlib import Path
from typing import Any

from espnet2.tasks import enh
from espnet2.tasks.abs_task import optim_classes, scheduler_classes

from espnet_hybridse.fileio.yaml_config import (
    ConfigError,
    check_arguments,
    check_keys,
    check_type,
    read_yaml,
)
from espnet_hybridse.training.task import HybridEnhancementTask


def check_train_config(path: str | Path) -> dict[str, Any]:
    """Check a training YAML: option names, class names and the keyword arguments of each class.

    Raises:
        ConfigError: a key or name that nothing knows, or a value of another kind.
    """
    config = read_yaml(path)
    options = {action.dest for action in HybridEnhancementTask.get_parser()._actions}
    check_keys(config, options, str(path))
    for name in config:
        if name.endswith("_conf"):
            check_type(config[name] or {}, dict, "'key: value' lines", f"{path}: {name}")
    tables = {
        "encoder": enh.encoder_choices.classes,
        "separator": enh.separator_choices.classes,
        "decoder": enh.decoder_choices.classes,
        "preprocessor": enh.preprocessor_choices.classes,
        **_trainer_classes(),
    }
    for name, classes in tables.items():
        if config.get(name) is not None:
            check_keys([config[name]], classes, f"{path}: {name}")
            check_arguments(
                classes[config[name]], config.get(f"{name}_conf"), f"{path}: {name}_conf"
            )
    criterions = config.get("criterions", [])
    check_type(criterions, list, "a list of '- name: …' entries", f"{path}: criterions")
    for criterion in criterions:
        _check_criterion(criterion, f"{path}: criterions")
    return config


def _trainer_classes() -> dict[str, dict[str, type]]:
    """Optimisers and schedulers by name."""
    return {"optim": optim_classes, "scheduler": scheduler_classes}


CRITERION_KEYS = ("name", "conf", "wrapper", "wrapper_conf")


def _check_criterion(criterion: Any, where: str) -> None:
    check_type(criterion, dict, f"entries with {', '.join(CRITERION_KEYS)}", where)
    check_keys(criterion, CRITERION_KEYS, where)
    missing = [key for key in CRITERION_KEYS if key != "conf" and key not in criterion]
    if missing:
        raise ConfigError(f"{where}: {criterion} lacks {', '.join(missing)}")
    tables = {
        "name": ("conf", enh.criterion_choices.classes),
        "wrapper": ("wrapper_conf", enh.loss_wrapper_choices.classes),
    }
    for key, (conf, classes) in tables.items():
        check_keys([criterion[key]], classes, f"{where}: {key}")
        given = criterion.get(conf) or {}
        check_type(given, dict, "'key: value' lines", f"{where}: {criterion['name']} {conf}")
        check_arguments(classes[criterion[key]], given, f"{where}: {criterion['name']} {conf}")
