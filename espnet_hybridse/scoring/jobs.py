"""The work of scoring: a few files at a time, each read once for all of its columns."""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

import numpy as np

from espnet_hybridse.fileio.audio import BadAudio, fit_length, read_audio
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.scoring.metrics.metric import Context, MetricFailed, Setup, Utterance
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.rows import Row

MAX_MISMATCH_S = 0.010
"""Longest difference in length that is cut or padded away; more means a broken system."""


@dataclass(frozen=True)
class Job:
    """One utterance and the columns it still needs."""

    uid: str
    inf_path: str
    ref_path: str | None
    text: str | None
    lang: str | None
    columns: tuple[str, ...]
    stamp: str
    setup: Setup

    def only(self, network: bool) -> "Job":
        """The same with those columns only that a network computes, or with the others."""
        columns = tuple(name for name in self.columns if METRICS[name].network == network)
        return replace(self, columns=columns)


def run_jobs(jobs: Sequence[Job], nj: int, batch: int) -> Iterator[tuple[Job, Row | str]]:
    """Yield (job, row) or (job, reason for the quarantine) as they finish.

    On a GPU this process runs the networks, `batch` files at once, while `nj` workers compute the
    other columns: an utterance then has two rows, which readers join.
    """
    if not jobs:
        return
    here: list[Job] = []
    if jobs[0].setup.device.startswith("cuda"):
        here = [job for job in (job.only(network=True) for job in jobs) if job.columns]
        jobs = [job for job in (job.only(network=False) for job in jobs) if job.columns]
    if nj == 1 or len(jobs) < 2:
        for part in [*cut(here, batch), *cut(jobs, batch)]:
            yield from zip(part, score_jobs(part), strict=True)
        return
    pool = worker_pool(min(nj, len(jobs)))
    try:
        pending = {pool.submit(score_jobs, part): part for part in cut(jobs, batch)}
        for part in cut(here, batch):
            yield from zip(part, score_jobs(part), strict=True)
            yield from finished(pending, timeout=0)  # written now: a kill must not lose them
        while pending:
            yield from finished(pending, timeout=None)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a scoring process died (out of memory, or a crash in a metric's own code); what was "
            "scored is kept: run the same command again, with --nj 1 if it happens twice"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def finished(pending: dict, timeout: float | None) -> Iterator[tuple[Job, Row | str]]:
    """Take what is done out of `pending`; without a timeout, wait for something."""
    done, _ = wait(pending, timeout=timeout, return_when=FIRST_COMPLETED)
    for future in done:
        yield from zip(pending.pop(future), future.result(), strict=True)


def cut(jobs: Sequence[Job], batch: int) -> list[list[Job]]:
    """Lists of at most `batch` jobs."""
    return [list(jobs[start : start + batch]) for start in range(0, len(jobs), batch)]


def score_jobs(jobs: Sequence[Job]) -> list[Row | str]:
    """Rows of a few files; a str is the reason why a file cannot be scored."""
    loaded = [read_pair(job) for job in jobs]
    networks = {name for job in jobs for name in job.columns if METRICS[name].network}
    for name in networks if len(jobs) > 1 else ():
        wanted = [
            utterance
            for job, utterance in zip(jobs, loaded, strict=True)
            if name in job.columns and isinstance(utterance, Utterance)
        ]
        try:
            METRICS[name].together(wanted)
        except Exception:  # one bad file may spoil the batch: each is tried alone below
            continue
    return [
        utterance if isinstance(utterance, str) else score_utterance(job, utterance)
        for job, utterance in zip(jobs, loaded, strict=True)
    ]


def read_pair(job: Job) -> Utterance | str:
    """Both files at one rate and length, or the reason why they cannot be compared."""
    try:
        inf, fs = read_audio(job.inf_path)
        ref = None
        if job.ref_path:
            ref, ref_fs = read_reference(job.ref_path)
            if fs != ref_fs:
                raise BadAudio(f"rate {fs} Hz, its reference has {ref_fs} Hz: resample it")
            if abs(inf.size - ref.size) > MAX_MISMATCH_S * fs:
                apart = 1000 * abs(inf.size - ref.size) / fs
                raise BadAudio(
                    f"{inf.size} samples, its reference has {ref.size}: {apart:.1f} ms apart, at "
                    f"most {1000 * MAX_MISMATCH_S:.0f} are cut or padded"
                )
            inf = fit_length(inf, ref.size)
    except BadAudio as error:
        return str(error)
    return Utterance(inf, ref, fs, Context(job.uid, job.text, job.lang, job.setup))


def read_reference(path: str) -> tuple[np.ndarray, int]:
    """`read_audio` of a reference; its complaint says that it is not about the enhanced file."""
    try:
        return read_audio(path)
    except BadAudio as error:
        raise BadAudio(f"its reference {path}: {error}") from error


def score_utterance(job: Job, utterance: Utterance) -> Row:
    """Compute the columns of one file; one that fails is null, with the reason beside it."""
    inf, ref, fs, context = utterance.inf, utterance.ref, utterance.fs, utterance.context
    scores: dict[str, float | None] = {}
    failed: dict[str, str] = {}
    cost_s: dict[str, float] = {}
    for name in job.columns:
        start, scores[name] = time.perf_counter(), None
        try:
            value = float(METRICS[name].compute(inf, ref, fs, context))
            if math.isfinite(value):
                scores[name] = value
            else:
                failed[name] = f"the metric returned {value}"
        except MetricFailed as error:
            failed[name] = str(error)
        except Exception as error:  # third-party code: one file must not end the batch
            failed[name] = f"{type(error).__name__}: {error}"
        cost_s[name] = round(time.perf_counter() - start, 4)
    models = {name: job.setup.models.get(METRICS[name].key) for name in job.columns}
    return {
        "uid": job.uid,
        "stamp": job.stamp,
        "fs": fs,
        "seconds": round(inf.size / fs, 3),
        "scores": scores,
        "failed": failed,
        "weights": context.weights,
        "notes": context.notes,
        "cost_s": cost_s,
        "models": {name: model for name, model in models.items() if model},
    }
