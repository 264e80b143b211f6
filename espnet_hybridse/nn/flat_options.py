"""Constructors that are written for groups of options, which a configuration names one by one."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any


def flat_options(init: Callable) -> Callable:
    """Let a constructor be called with single options in the place of groups of them.

    A parameter that is annotated with a dataclass stands for the fields of that class: callers name
    them as keyword arguments, and `inspect.signature`, by which ESPnet and the checks of
    configurations look arguments up, shows them with their defaults.

    Args:
        init: a constructor; its other parameters are left as they are.
    """
    own = inspect.signature(init).parameters
    groups = {name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)}
    shown = [p for name, p in own.items() if name not in groups]
    for group in groups.values():
        shown += [
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(option),
                annotation=option.type,
            )
            for option in fields(group)
        ]
    signature = inspect.Signature(shown)

    @wraps(init)
    def constructor(self: Any, *args: Any, **given: Any) -> None:
        signature.bind(self, *args, **given)  # names what is unknown
        grouped = {
            name: group(**{f.name: given.pop(f.name) for f in fields(group) if f.name in given})
            for name, group in groups.items()
        }
        init(self, *args, **given, **grouped)

    constructor.__signature__ = signature  # type: ignore[attr-defined]
    return constructor


def _default(option: Field) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
