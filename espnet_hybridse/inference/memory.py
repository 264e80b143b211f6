"""When the memory is not enough: which errors say so, and how much was needed."""

import resource

import torch

_CPU_MESSAGES = ("can't allocate memory", "not enough memory", "Unable to allocate")
_DEVICE_MESSAGES = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "no CUDA-capable device")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or numpy means that memory ran out, on whatever device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_MESSAGES)
    )


def device_lost(error: BaseException) -> bool:
    """Whether an error means that the GPU cannot be used any longer."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _DEVICE_MESSAGES)


def peak_gb() -> float:
    """Largest resident memory of this process or of an ended worker so far, in GB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024 / 1e9


def peak_gpu_gb() -> float:
    """Largest GPU memory of this process so far, in GB; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_initialized() else 0.0
