"""What a figure was measured on."""

import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path

import torch

from espnet_hybridse.runtime.processor import processor
from espnet_hybridse.runtime.version import __version__

MATTERS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def processor_line() -> str:
    """The processor's name and those of its instruction sets that matter here."""
    here = processor()
    return ", ".join([here.name, *(flag for flag in MATTERS if flag in here.flags)])


def describe(device: torch.device) -> dict[str, object]:
    """Machine, versions and command line, for a table's head and its JSON."""
    return {
        "command": shlex.join(
            ["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
        ),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": processor_line(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "espnet": metadata.version("espnet"),
        "espnet_hybridse": __version__,
    }
