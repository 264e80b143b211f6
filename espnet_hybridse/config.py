"""Checks of a training configuration before anything is built: unknown keys are named."""

import difflib
import inspect
from pathlib import Path
from typing import Any, Dict, Iterable, Union

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
    """Check a training YAML: option names, class names and the keyword arguments of each class."""
    from espnet2.tasks import enh

    from espnet_hybridse.task import HybridEnhancementTask

    config = read_yaml(path)
    options = {action.dest for action in HybridEnhancementTask.get_parser()._actions}
    check_keys(config, options, str(path))
    tables = {
        "encoder": enh.encoder_choices,
        "separator": enh.separator_choices,
        "decoder": enh.decoder_choices,
        "preprocessor": enh.preprocessor_choices,
    }
    for name, choices in tables.items():
        if name in config:
            check_keys([config[name]], choices.classes, f"{path}: {name}")
            check_arguments(
                choices.classes[config[name]], config.get(f"{name}_conf"), f"{path}: {name}_conf"
            )
    for criterion in config.get("criterions", []):
        name = criterion.get("name")
        check_keys([name], enh.criterion_choices.classes, f"{path}: criterions")
        check_arguments(
            enh.criterion_choices.classes[name], criterion.get("conf"), f"{path}: {name} conf"
        )
    return config


def check_arguments(cls: type, conf: Dict[str, Any], where: str) -> None:
    """Check the keys of `conf` against the constructor of `cls`."""
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    check_keys(conf or {}, [name for name in parameters if name != "input_dim"], where)
