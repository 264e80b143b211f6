"""Executors that rendering runs on: processes of this machine, or a Dask cluster."""

import logging
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from itertools import islice
from tempfile import NamedTemporaryFile
from typing import TypeVar

from espnet_hybridse.runtime.workers import worker_pool

T = TypeVar("T")
R = TypeVar("R")

EXECUTORS = ("processes", "dask")
CHUNK = 8
"""Most samples in one task: about half a second of work."""
AHEAD = 6
"""Tasks handed out for each worker before the first result is awaited."""


@contextmanager
def open_executor(name: str, nj: int, scheduler: str | None = None) -> Iterator[Executor]:
    """Workers as a `concurrent.futures` executor.

    Args:
        name: one of EXECUTORS.
        nj: processes; with Dask, workers of a cluster that is started here.
        scheduler: for Dask: the address of a cluster that runs, such as tcp://host:8786; `slurm`
            to start one by dask-jobqueue, with the partition, memory and time of its jobqueue.yaml;
            None for one on this machine.

    Raises:
        ValueError: an unknown name, Dask is not installed, or the cluster does not answer.
    """
    if name not in EXECUTORS:
        raise ValueError(f"--executor {name} is not one of {', '.join(EXECUTORS)}")
    if name == "processes":
        if scheduler:
            raise ValueError(f"--scheduler {scheduler} goes with --executor dask")
        with worker_pool(nj) as pool:
            yield pool
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError("--executor dask needs: pip install 'espnet_hybridse[dask]'") from error
    # It reports every connection; its warnings are about the user's work.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    with ExitStack() as stack:
        address: object = scheduler
        if scheduler is None:
            cluster = LocalCluster(n_workers=nj, threads_per_worker=1, dashboard_address=None)
            address = stack.enter_context(cluster)
        elif scheduler == "slurm":
            address = stack.enter_context(_slurm_cluster(nj))
        try:
            client = stack.enter_context(Client(address, timeout="30s"))
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(
                f"--scheduler {scheduler}: no Dask scheduler answers ({error}); accepted: "
                "tcp://host:port, slurm, or nothing for a cluster on this machine"
            ) from error
        yield client.get_executor()


def _slurm_cluster(nj: int):
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ValueError("--scheduler slurm needs: pip install 'espnet_hybridse[dask]'") from error
    try:
        cluster = SLURMCluster(cores=1, processes=1, scheduler_options={"dashboard_address": None})
        try:
            _check_submission(cluster.job_script())
        except BaseException:
            cluster.close()
            raise
    except (ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(":")
        raise ValueError(
            f"--scheduler slurm: {reason}; accepted: jobs that sbatch takes on this machine, "
            "described by jobqueue.slurm in ~/.config/dask/jobqueue.yaml "
            "(queue, memory, walltime)"
        ) from error
    cluster.scale(nj)
    # Nothing else is said while they wait for a place, which may be hours.
    logging.info("slurm: %d jobs handed in; rendering begins with the first (squeue --me)", nj)
    return cluster


def _check_submission(script: str) -> None:
    """Raise what is wrong with a job script: Dask would only log that, and wait for ever."""
    with NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(["sbatch", "--test-only", file.name], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr)


def run_all(
    work: Callable[[list[T]], list[R]],
    items: Iterable[T],
    total: int,
    executor: Executor | None,
    nj: int,
) -> Iterator[R]:
    """Results of `work` on chunks of `items`, in their order; a few chunks are held at a time.

    Args:
        total: number of items, so that few are spread evenly.
        executor: None works here, one after the other.
    """
    items = iter(items)
    size = max(1, min(CHUNK, total // (8 * nj)))
    chunks = iter(lambda: list(islice(items, size)), [])
    if executor is None:
        for chunk in chunks:
            for item in chunk:
                yield from work([item])
        return
    waiting = deque(executor.submit(work, chunk) for chunk in islice(chunks, AHEAD * nj))
    while waiting:
        results = waiting.popleft().result()
        for chunk in islice(chunks, 1):
            waiting.append(executor.submit(work, chunk))
        yield from results
