"""Words of the command line that several verbs take: NAME=VALUE rows and the device."""

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


def device_of(name: str) -> str:
    """The device called "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: another name, or no such device here.
    """
    import torch

    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and not (kind == "cuda" and index.isdigit())):
        raise ValueError(f"--device {name!r} is not one of auto, cpu, cuda, cuda:N")
    usable = torch.cuda.is_available()
    if kind == "cuda" and not usable:
        raise ValueError(f"--device {name}: PyTorch finds no GPU here; take --device cpu")
    if kind == "cuda":
        return name
    return "cuda" if usable and kind == "auto" else "cpu"
