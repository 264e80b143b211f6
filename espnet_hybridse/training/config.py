"""Checks of a training configuration before anything is built: unknown keys are named."""

import difflib
import inspect
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Union

import yaml


class ConfigError(ValueError):
    """A configuration that cannot work; the message names file, key and accepted keys."""


def read_yaml(path: Union[str, Path]) -> Dict[str, Any]:
    """Read a YAML mapping without executing anything.

    Raises:
        ConfigError: the file is missing, is no YAML, or is not a mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such config; the presets are in conf/mini, fast and paper")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, got {type(value).__name__}")
    return value


def check_keys(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise a ConfigError for the first key of `given` that is not in `known`."""
    known = sorted(known)
    for key in given:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}accepted: {', '.join(known)}")


def check_train_config(path: Union[str, Path]) -> Dict[str, Any]:
    """Check a training YAML: option names, class names and the keyword arguments of each class.

    Raises:
        ConfigError: a key or name that nothing knows, or a value of another kind.
    """
    from espnet2.tasks import enh

    from espnet_hybridse.training.task import HybridEnhancementTask

    config = read_yaml(path)
    options = {action.dest for action in HybridEnhancementTask.get_parser()._actions}
    check_keys(config, options, str(path))
    for name in config:
        if name.endswith("_conf"):
            _check_type(config[name] or {}, dict, "'key: value' lines", f"{path}: {name}")
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
    _check_type(criterions, list, "a list of '- name: …' entries", f"{path}: criterions")
    for criterion in criterions:
        _check_criterion(criterion, f"{path}: criterions")
    return config


def _trainer_classes() -> Dict[str, Dict[str, type]]:
    """Optimisers and schedulers by name."""
    from espnet2.tasks.abs_task import optim_classes, scheduler_classes

    return {"optim": optim_classes, "scheduler": scheduler_classes}


CRITERION_KEYS = ("name", "conf", "wrapper", "wrapper_conf")


def _check_criterion(criterion: Any, where: str) -> None:
    from espnet2.tasks import enh

    _check_type(criterion, dict, f"entries with {', '.join(CRITERION_KEYS)}", where)
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
        _check_type(given, dict, "'key: value' lines", f"{where}: {criterion['name']} {conf}")
        check_arguments(classes[criterion[key]], given, f"{where}: {criterion['name']} {conf}")


def _check_type(value: Any, kind: type, expected: str, where: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(f"{where}: expected {expected}, got {value!r}")


GIVEN = ("input_dim", "self", "params", "optimizer", "criterion")
"""Arguments that ESPnet fills in."""


def check_arguments(cls: type, conf: Optional[Dict[str, Any]], where: str) -> None:
    """Check the keys of `conf` against the constructor of `cls`."""
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    check_keys(conf or {}, [name for name in parameters if name not in GIVEN], where)
