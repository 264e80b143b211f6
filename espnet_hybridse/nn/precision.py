"""Mixed precision inside a branch, independent of the trainer's own setting."""

from contextlib import nullcontext
from typing import ContextManager

import torch
from torch import nn

from espnet_hybridse.runtime.processor import Processor, processor

AMD = "AuthenticAMD"
DTYPES = (None, "auto", "bfloat16")


def cpu_has_bfloat16(cpu: Processor | None = None) -> bool:
    """Whether a processor computes faster in bfloat16 than in float32; None: this machine's.

    It does with AMX, and with AVX512-BF16 on AMD: measured were 1.08 to 1.8 times float32's speed.
    On an Intel processor with AVX512-BF16 but without AMX it was 0.3 to 0.6 of it.
    """
    cpu = cpu or processor()
    return "amx_bf16" in cpu.flags or (cpu.vendor == AMD and "avx512_bf16" in cpu.flags)


def gpu_has_bfloat16() -> bool:
    """Whether the current GPU computes in bfloat16 itself; emulated, it is slower than float32."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def autocast(device: torch.device, amp_dtype: str | None) -> ContextManager:
    """The autocast context of `amp_dtype`: null leaves the ambient precision untouched.

    Raises:
        ValueError: `amp_dtype` is none of null, "auto", "bfloat16".
    """
    if amp_dtype not in DTYPES:
        raise ValueError(f"amp_dtype={amp_dtype!r} is not one of null, auto, bfloat16")
    native = gpu_has_bfloat16() if device.type == "cuda" else cpu_has_bfloat16()
    if amp_dtype is None or (amp_dtype == "auto" and not native):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def in_float32(x: torch.Tensor) -> ContextManager:
    """Switch autocast off where `x` lives: for layers that make a spectrum, a mask or a loss."""
    kind = x.device.type
    available = torch.amp.autocast_mode.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if available else nullcontext()


def as_autocast(x: torch.Tensor) -> torch.Tensor:
    """Bring the input of an LSTM to the type in which it is to run under the ambient autocast.

    On a processor that is autocast's own: PyTorch's LSTM chooses its kernel before autocast does,
    and float32 given to it would reach one for bfloat16 that many processors do not have. On a GPU
    it is float32, see :func:`run_lstm`.
    """
    kind = x.device.type
    if kind not in ("cpu", "cuda") or not torch.is_autocast_enabled(kind):
        return x
    return x.float() if kind == "cuda" else x.to(torch.get_autocast_dtype(kind))


def run_lstm(lstm: nn.LSTM, x: torch.Tensor) -> torch.Tensor:
    """Return the output sequence of `lstm` without letting autocast choose its type.

    Autocast brings every cuDNN LSTM to float16 whatever type it was asked for, where a long
    recurrence overflows without loss scaling; and before PyTorch 2.10 there is no fast LSTM in
    bfloat16. So on a GPU it runs in float32, its products in TF32 where that is allowed (our
    choice). Elsewhere the type is that of :func:`as_autocast`.
    """
    x = as_autocast(x)
    if x.device.type != "cuda":
        return lstm(x)[0]
    with in_float32(x):
        return lstm(x)[0]
