"""The device a command runs on."""

import torch


def device_of(name: str) -> torch.device:
    """The device called "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: another name, or no such device here.
    """
    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and not (kind == "cuda" and index.isdigit())):
        raise ValueError(f"--device {name!r} is not one of auto, cpu, cuda, cuda:N")
    usable = torch.cuda.is_available()
    if kind == "cuda" and not usable:
        raise ValueError(f"--device {name}: PyTorch finds no GPU here; take --device cpu")
    if kind == "cuda":
        return torch.device(name)
    return torch.device("cuda" if usable and kind == "auto" else "cpu")
