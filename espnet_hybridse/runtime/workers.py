"""Worker processes that start clean and never outlive the command that started them."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

PARENT_VARIABLE = "HYBRIDSE_PARENT_PID"


def worker_pool(
    nj: int, initializer: Callable | None = None, initargs: tuple = ()
) -> ProcessPoolExecutor:
    """A pool of `nj` processes.

    Workers are fresh interpreters (forking a process that has threads can deadlock) and end when
    their parent is killed (they would wait for work for ever).
    """
    return ProcessPoolExecutor(
        nj,
        multiprocessing.get_context("spawn"),
        _start,
        (os.getpid(), initializer, initargs),
    )


def _start(parent: int, initializer: Callable | None, initargs: tuple) -> None:
    end_with(parent)
    # Processes are the parallelism: threads inside each would fight over the same cores.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    if initializer is not None:
        initializer(*initargs)


def end_with(parent: int) -> None:
    """Make this process end when `parent`, its parent's process id, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
