"""Mixed precision inside a branch, independent of the trainer's own setting."""

from contextlib import nullcontext
from typing import ContextManager, Optional

import torch

from espnet_hybridse.runtime.processor import Processor, processor

AMD = "AuthenticAMD"
DTYPES = (None, "auto", "bfloat16")


def cpu_has_bfloat16(cpu: Optional[Processor] = None) -> bool:
    """Whether a processor computes faster in bfloat16 than in float32; None: this machine's.

    It does with AMX, and with AVX512-BF16 on AMD: measured were 1.08 to 1.8 times float32's speed.
    On an Intel processor with AVX512-BF16 but without AMX it was 0.3 to 0.6 of it.
    """
    cpu = cpu or processor()
    return "amx_bf16" in cpu.flags or (cpu.vendor == AMD and "avx512_bf16" in cpu.flags)


def autocast(device: torch.device, amp_dtype: Optional[str]) -> ContextManager:
    """The autocast context of `amp_dtype`: null leaves the ambient precision untouched.

    Raises:
        ValueError: `amp_dtype` is none of null, "auto", "bfloat16".
    """
    if amp_dtype not in DTYPES:
        raise ValueError(f"amp_dtype={amp_dtype!r} is not one of null, auto, bfloat16")
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bfloat16()
    if amp_dtype is None or (amp_dtype == "auto" and not native):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def as_autocast(x: torch.Tensor) -> torch.Tensor:
    """`x` in the type that autocast computes in, where it is on; unchanged elsewhere.

    PyTorch's LSTM chooses its kernel before autocast does so: float32 given to it would reach one
    for bfloat16 that many processors do not have.
    """
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x
