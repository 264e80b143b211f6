"""What errors say about memory and a GPU: that it is full, or that it cannot be used any longer."""

from collections.abc import Iterator

LOST = (
    "cuda error",
    "cudnn error",
    "cudnn_status",
    "cublas_status",
    "no kernel image",
    "no cuda-capable device",
)
FULL = (
    "can't allocate memory",
    "not enough memory",
    "unable to allocate",
    "out of memory",
    "alloc_failed",
    "memoryallocation",
    # What cuBLAS and cuDNN say where they cannot have their workspace.
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
)
"""Of torch, numpy, CUDA, cuBLAS and cuDNN, in lower case: memory ran out, the device is well."""


def memory_is_full(error: BaseException) -> bool:
    """Whether memory ran out, on any device: a smaller piece of work may succeed.

    A CUDA graph that is being recorded when memory runs out raises for the recording: the reason
    is only in what that error came from.
    """
    return any(
        isinstance(cause, MemoryError) or (isinstance(cause, RuntimeError) and _says(cause, FULL))
        for cause in _chain(error)
    )


def gpu_is_lost(error: BaseException) -> bool:
    """Whether nothing else can be done on it, as where a driver or the kernels do not fit it."""
    lost = isinstance(error, RuntimeError) and _says(error, LOST)
    return lost and not memory_is_full(error)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    return any(word in str(error).lower() for word in words)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, then what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
