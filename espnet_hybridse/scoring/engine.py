"""Stage 10: score every enhanced file once, with every metric, in parallel and resumably."""

import hashlib
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.audio import BadAudio, fit_length, read_audio
from espnet_hybridse.lists import PathLike, Quarantine, read_list, write_json
from espnet_hybridse.scoring.metric import Context, MetricFailed
from espnet_hybridse.scoring.registry import METRICS, select
from espnet_hybridse.scoring.rows import Row, append_row, mend, read_rows
from espnet_hybridse.workers import worker_pool

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


@dataclass(frozen=True)
class Summary:
    """What one run of `score` did."""

    scored: int
    skipped: int
    quarantined: int
    columns: list[str]
    unavailable: dict[str, str]

    def __str__(self) -> str:
        return (
            f"scored {self.scored}, already scored {self.skipped}, "
            f"quarantined {self.quarantined}; columns: {', '.join(self.columns)}"
        )


def score(
    ref_scp: PathLike | None,
    inf_scp: PathLike,
    out_dir: PathLike,
    metrics: Sequence[str] = ("all",),
    text: PathLike | None = None,
    utt2lang: PathLike | None = None,
    nj: int = 2,
) -> Summary:
    """Score `inf_scp` against `ref_scp` (None: metrics without a reference only).

    Leaves `scores.jsonl` (one line an utterance as soon as it is scored), `quarantine.tsv` and
    `scoring.json` in `out_dir`. Run again, it scores what is missing and what has changed since:
    an utterance is known by the size and time of its files and by its transcript.

    Raises:
        ListError: a list is missing or malformed.
        ValueError: an unknown metric, nj < 1, no metric that can run, or no utterance in common.
    """
    if nj < 1:
        raise ValueError(f"nj={nj}: at least one process is needed")
    columns, unavailable = usable(select(metrics), ref_scp is not None)
    inf = read_list(inf_scp)
    ref = read_list(ref_scp) if ref_scp else {}
    texts = read_list(text) if text else {}
    langs = read_list(utt2lang) if utt2lang else {}
    if ref_scp and not ref.keys() & inf.keys():
        raise ValueError(f"{ref_scp} and {inf_scp} have no utterance in common; check the keys")

    out_dir = Path(out_dir)
    quarantine = Quarantine(out_dir / "quarantine.tsv")
    for uid in sorted(ref.keys() - inf.keys()):
        quarantine.add(uid, ref[uid], f"not in {inf_scp}: never enhanced")
    rows_path = out_dir / "scores.jsonl"
    mend(rows_path, inf)
    rows, jobs, skipped = read_rows(rows_path), [], 0
    for uid in sorted(inf):
        if ref_scp and uid not in ref:
            quarantine.add(uid, inf[uid], f"not in {ref_scp}: no reference")
            continue
        job = Job(uid, inf[uid], ref.get(uid), texts.get(uid), langs.get(uid), (), "")
        stamp = make_stamp(job)
        row = rows.get(uid)
        done = row["scores"].keys() if row and row["stamp"] == stamp else ()
        missing = tuple(name for name in columns if name not in done)
        if missing:
            jobs.append(Job(uid, job.inf_path, job.ref_path, job.text, job.lang, missing, stamp))
        else:
            skipped += 1
    write_json(
        out_dir / "scoring.json",
        {
            "ref_scp": str(ref_scp) if ref_scp else None,
            "inf_scp": str(inf_scp),
            "columns": {name: METRICS[name].source for name in columns},
            "unavailable": unavailable,
        },
    )

    scored = 0
    with open(rows_path, "a", encoding="utf-8") as handle:
        for job, result in tqdm(run_jobs(jobs, nj), total=len(jobs), desc="score", unit="utt"):
            if isinstance(result, str):
                quarantine.add(job.uid, job.inf_path, result)
            else:
                append_row(handle, result)
                scored += 1
    summary = Summary(scored, skipped, quarantine.count, columns, unavailable)
    logging.info("%s: %s", out_dir, summary)
    return summary


def usable(columns: Sequence[str], has_reference: bool) -> tuple[list[str], dict[str, str]]:
    """Split `columns` into those that can run and {column: reason} of those that cannot."""
    unavailable: dict[str, str] = {}
    for name in columns:
        reason = METRICS[name].available()
        if METRICS[name].needs_reference and not has_reference:
            reason = "needs clean references; pass --ref"
        if reason:
            unavailable[name] = reason
            logging.warning("no column %s: %s", name, reason)
    chosen = [name for name in columns if name not in unavailable]
    if not chosen:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unavailable.items())
        raise ValueError(f"no metric can run: {reasons or 'none was named'}")
    return chosen, unavailable


def make_stamp(job: Job) -> str:
    """A short hash that changes when a file, the transcript or the language does."""
    parts = [job.text, job.lang]
    for path in (job.inf_path, job.ref_path):
        try:
            status = os.stat(path) if path else None
        except OSError:
            status = None
        parts.append((str(path), status.st_size, status.st_mtime_ns) if status else None)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def run_jobs(jobs: Sequence[Job], nj: int) -> Iterator[tuple[Job, Row | str]]:
    """Yield (job, row) or (job, reason for the quarantine) as they finish."""
    if nj == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, score_job(job)
        return
    pool = worker_pool(min(nj, len(jobs)))
    try:
        futures = {pool.submit(score_job, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a scoring process died (out of memory, or a crash in a metric's own code); what was "
            "scored is kept: run the same command again, with --nj 1 if it happens twice"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def score_job(job: Job) -> Row | str:
    """Read the pair once and compute its columns; a str is the reason it cannot be scored."""
    try:
        inf, fs = read_audio(job.inf_path)
        ref = None
        if job.ref_path:
            ref, ref_fs = read_audio(job.ref_path)
            if fs != ref_fs:
                raise BadAudio(f"rate {fs} Hz, its reference has {ref_fs} Hz")
            if abs(inf.size - ref.size) > MAX_MISMATCH_S * fs:
                raise BadAudio(f"{inf.size} samples, its reference has {ref.size}")
            inf = fit_length(inf, ref.size)
    except BadAudio as error:
        return str(error)

    context = Context(job.uid, job.text, job.lang)
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
    }
