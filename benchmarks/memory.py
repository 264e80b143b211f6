"""Peak memory of one call: exact on a GPU, to about 2 MB on CPU.

On CPU a call runs in a process of its own whose allocator maps every block from 64 kB up by itself
and gives it back when it is freed. Resident memory is then what lives, not what glibc keeps for
later (which made the same step read 400 MB the first and 500 MB the second time), and a system
does not inherit what another left behind.
"""

import ctypes
import gc
import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from benchmarks.measure import Call, synchronise
from espnet_hybridse.runtime.workers import worker_pool

Prepare = Callable[..., tuple[Call, Call]]
STATUS = Path("/proc/self/status")
HIGH_WATER = Path("/proc/self/clear_refs")
MAP_FROM = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""glibc's setting; it must stand in the environment when the process starts."""


class MemoryProbe(AbstractContextManager):
    """Measures peak memory; holds the process that does so on CPU.

    Args:
        device: where the calls run.
        threads: of PyTorch in that process; None is PyTorch's own choice.
    """

    def __init__(self, device: torch.device, threads: int | None = None):
        self.device, self.threads, self.pool = device, threads, None

    def peak(self, prepare: Prepare, *args) -> float | None:
        """Highest memory in MB during a call, above what was held before it.

        None where the system does not tell a process its peak (on CPU anything but Linux).

        Args:
            prepare: `prepare(*args)` returns a call that warms up (libraries load then) and the
                one to measure. Both must be importable, as for any worker process.

        Raises:
            RuntimeError: the process died, most likely for want of memory.
        """
        if self.device.type == "cuda":
            return _peak_cuda(*prepare(*args), self.device)
        if not HIGH_WATER.exists():
            return None
        if self.pool is None:
            self.pool = worker_pool(1, _start, (self.threads,))
        before = {name: os.environ.get(name) for name in MAP_FROM}
        os.environ.update(MAP_FROM)
        try:
            job = self.pool.submit(_peak_cpu, prepare, args)
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        try:
            return job.result()
        except BrokenProcessPool:
            self.__exit__()
            raise RuntimeError(
                "the measuring process was killed, most likely out of memory; "
                "take fewer --seconds or a smaller --batch"
            ) from None

    def __exit__(self, *exc) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
            self.pool = None


def _start(threads: int | None) -> None:
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


def _peak_cpu(prepare: Prepare, args: tuple) -> float:
    warm, call = prepare(*args)
    warm()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    HIGH_WATER.write_text("5")  # the high-water mark starts again at what is held now
    before = _resident_kb("VmRSS")
    call()
    return (_resident_kb("VmHWM") - before) / 1024


def peak_of_process() -> float | None:
    """The most that this process held since it started, in MB; None on anything but Linux."""
    return _resident_kb("VmHWM") / 1024 if STATUS.exists() else None


def _resident_kb(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key + ":"))
    return int(line.split()[1])


def _peak_cuda(warm: Call, call: Call, device: torch.device) -> float:
    warm()
    gc.collect()
    synchronise(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    synchronise(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20
