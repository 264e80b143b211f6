"""What errors of PyTorch say about a GPU: that it cannot be used, or that it is full."""

LOST = (
    "CUDA error",
    "cuDNN error",
    "CUDNN_STATUS",
    "CUBLAS_STATUS",
    "no kernel image",
    "no CUDA-capable device",
)
FULL = ("out of memory", "ALLOC_FAILED")


def gpu_is_full(error: BaseException) -> bool:
    """Whether there was no memory left on it: a smaller piece of work may succeed."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in FULL)


def gpu_is_lost(error: BaseException) -> bool:
    """Whether nothing else can be done on it, as where a driver or the kernels do not fit it."""
    lost = isinstance(error, RuntimeError) and any(text in str(error) for text in LOST)
    return lost and not gpu_is_full(error)
