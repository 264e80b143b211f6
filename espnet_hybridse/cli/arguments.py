"""NAME=VALUE words of the command line."""

from collections.abc import Sequence


def pairs(words: Sequence[str], example: str) -> dict[str, str]:
    """['NAME=VALUE', …] -> {NAME: VALUE}."""
    table = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{word!r} is not NAME=VALUE; write for example: {example}")
        if name in table:
            raise ValueError(f"{name!r} is named twice; every name is one row")
        table[name] = value
    return table
