"""Scoring in processes of its own: a crash in a metric's code costs one value, not the run."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory

from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.scoring.jobs import READING, GpuFailed, Job, models_of, score_jobs
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.rows import MERGED, Row

DIED = "the process that computed it ended: out of memory, or a fault in its package's own code"
Done = tuple[Job, Row | str]


def run_jobs(jobs: Sequence[Job], nj: int, batch: int) -> Iterator[Done]:
    """Yield (job, row) or (job, reason for the quarantine) as they finish.

    On a GPU this process runs the networks, `batch` files at once, while the workers compute the
    other columns: an utterance then has two rows, which readers join.

    Args:
        nj: worker processes; with 0 this process does everything, unprotected.
    """
    here: list[Job] = []
    if jobs and jobs[0].setup.device.startswith("cuda"):
        networks = [name for name, metric in METRICS.items() if metric.network]
        here = [job for job in (job.only(networks) for job in jobs) if job.columns]
        others = [name for name in METRICS if name not in networks]
        jobs = [job for job in (job.only(others) for job in jobs) if job.columns]
    if nj == 0:
        for part in cut(jobs, batch):
            yield from zip(part, score_jobs(part), strict=True)
        yield from on_gpu(here, batch)
        return
    yield from in_workers(cut(jobs, batch), min(nj, len(jobs)), on_gpu(here, batch))


def cut(jobs: Sequence[Job], batch: int) -> list[list[Job]]:
    """Lists of at most `batch` jobs."""
    return [list(jobs[start : start + batch]) for start in range(0, len(jobs), batch)]


def on_gpu(jobs: Sequence[Job], batch: int) -> Iterator[Done]:
    """Networks in this process; the CPU takes over where the GPU cannot."""
    waiting, device = deque(cut(jobs, batch)), None
    while waiting:
        part = waiting.popleft()
        placed = part if device is None else [job.on(device) for job in part]
        try:
            rows = score_jobs(placed)
        except GpuFailed as error:
            if error.lost:
                device = "cpu"
                logging.warning(
                    "%s fails: the CPU takes over from here (%s)", part[0].setup.device, error
                )
                waiting.appendleft(part)
            elif len(part) > 1:
                waiting.extendleft([job] for job in reversed(part))
            else:
                rows = score_jobs([part[0].on("cpu")])
                yield part[0], rows[0]
            continue
        yield from zip(part, rows, strict=True)


def in_workers(parts: Iterable[list[Job]], nj: int, meanwhile: Iterator[Done]) -> Iterator[Done]:
    """Rows as they come from `nj` processes; what kills one is found and left out.

    Args:
        meanwhile: work of this process, taken up where no other has finished.
    """
    waiting = deque(parts)
    while waiting:
        flying: dict = {}
        with worker_pool(nj) as pool:
            try:
                while waiting or flying:
                    # Few ahead: when a worker dies, each of them may be the one.
                    while waiting and len(flying) < 2 * nj:
                        part = waiting.popleft()
                        flying[pool.submit(score_jobs, part)] = part
                    mine = next(meanwhile, None)
                    if mine is not None:
                        yield mine
                    timeout = None if mine is None else 0
                    for future in wait(flying, timeout, return_when=FIRST_COMPLETED)[0]:
                        rows = future.result()
                        yield from zip(flying.pop(future), rows, strict=True)
            except BrokenProcessPool:
                logging.warning("a scoring process died; its files are scored one by one")
            finally:
                pool.shutdown(cancel_futures=True)
        for part in flying.values():
            for job in part:
                yield job, alone(job)
    yield from meanwhile


def alone(job: Job) -> Row | str:
    """The row of a file that may kill its process: columns that do have the reason."""
    fatal: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        at = Path(folder) / "at"
        while True:
            left = job.only([name for name in job.columns if name not in fatal])
            try:
                with worker_pool(1) as pool:
                    row = pool.submit(_watched, left, at).result()
                break
            except BrokenProcessPool:
                column = at.read_text(encoding="utf-8") if at.exists() else READING
                if column == READING:
                    return DIED.replace("computed", "read")
                fatal[column] = DIED
    if isinstance(row, str):
        return row
    nothing = {"scores": dict.fromkeys(fatal), "failed": fatal, "models": models_of(job, fatal)}
    return {**row, **{part: {**nothing.get(part, {}), **row[part]} for part in MERGED}}


def _watched(job: Job, at: Path) -> Row | str:
    """`score_jobs` that leaves behind what it is at."""

    def tell(column: str) -> None:
        at.write_text(column, encoding="utf-8")

    return score_jobs([job], tell)[0]
