"""YAML that configures: read without executing anything, unknown keys named with the nearest."""

import difflib
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

GIVEN = ("input_dim", "self", "params", "optimizer", "criterion")
"""Arguments that ESPnet fills in."""


class ConfigError(ValueError):
    """A configuration that cannot work; the message names file, key and accepted keys."""


def read_yaml(path: str | Path, may_be_empty: bool = False) -> dict[str, Any]:
    """Read a YAML mapping without executing anything.

    Args:
        path: of the file.
        may_be_empty: whether a file without a key, such as one of comments, is {}.

    Raises:
        ConfigError: the file is missing, is no YAML, or is not a mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such config; the presets are in conf/mini, fast and paper")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    value = {} if value is None and may_be_empty else value
    check_type(value, dict, "'key: value' lines", str(path))
    return value


def nearest(word: str, known: Iterable[str], at_least: float = 0.6) -> str | None:
    """The known name that was most likely meant, if any is like it.

    Args:
        word: unknown.
        known: names.
        at_least: likeness, 0 to 1; 0 always finds one.
    """
    found = difflib.get_close_matches(str(word), list(known), n=1, cutoff=at_least)
    return found[0] if found else None


def check_keys(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise a ConfigError for the first key of `given` that is not in `known`."""
    known = sorted(known)
    for key in given:
        if key not in known:
            meant = nearest(key, known)
            hint = f"did you mean {meant!r}? " if meant else ""
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}accepted: {', '.join(known)}")


def check_type(value: Any, kind: type, expected: str, where: str) -> None:
    """Raise a ConfigError when `value` is not of this kind, `expected` in the reader's words."""
    if not isinstance(value, kind):
        raise ConfigError(f"{where}: expected {expected}, got {value!r}")


def check_arguments(cls: type, conf: dict[str, Any] | None, where: str) -> None:
    """Check the keys of `conf` against the constructor of `cls`."""
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    check_keys(conf or {}, [name for name in parameters if name not in GIVEN], where)
