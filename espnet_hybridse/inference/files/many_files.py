"""Enhancement of many files: in parallel, resumable, one bad file never stops the others."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.fileio.folders import passed_over
from espnet_hybridse.fileio.formats import AudioInfo, BadAudio, shown
from espnet_hybridse.fileio.lists import Quarantine, appended
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.files.jobs import Job, is_done
from espnet_hybridse.inference.files.one_file import Result, enhance_file, enhance_together
from espnet_hybridse.inference.files.output import Output
from espnet_hybridse.inference.network import peak_gb, peak_gpu_gb
from espnet_hybridse.runtime.workers import worker_pool

PROGRESS = (
    "{desc}: {percentage:3.0f}%|{bar}| "
    "{n:.0f} of {total:.0f} s, {elapsed} gone, {remaining} left{postfix}"
)


@dataclass
class EnhanceSummary:
    """What a run did."""

    done: int = 0
    skipped: int = 0
    quarantined: int = 0
    passed: int = 0
    warned: int = 0
    clipped: int = 0
    others: Counter = field(default_factory=Counter)
    audio_s: float = 0.0
    wall_s: float = 0.0
    peak_gb: float = 0.0
    peak_gpu_gb: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        rtf = self.wall_s / self.audio_s if self.audio_s else None
        return {
            "enhanced": self.done,
            "there_already": self.skipped,
            "quarantined": self.quarantined,
            "left_as_they_were": self.passed,
            "with_warnings": self.warned,
            "with_clipped_samples": self.clipped,
            "passed_over": dict(self.others),
            "hours": self.audio_s / 3600,
            "real_time_factor": rtf,
            "peak_memory_gb": round(self.peak_gb, 3),
            "peak_gpu_memory_gb": round(self.peak_gpu_gb, 3),
        }

    def __str__(self) -> str:
        rtf = self.wall_s / self.audio_s if self.audio_s else 0.0
        rate = f", real-time factor {rtf:.3f}" if rtf else ""
        gpu = f" and {self.peak_gpu_gb:.2f} GB of the GPU" if self.peak_gpu_gb else ""
        return (
            f"{self.done} enhanced ({self.audio_s / 3600:.3f} h{rate}), {self.skipped} were there "
            f"already, {self.quarantined} quarantined{self._remarks()}; peak memory "
            f"{self.peak_gb:.2f} GB{gpu}"
        )

    def _remarks(self) -> str:
        remarks = []
        if self.passed:
            remarks.append(f"{self.passed} clean already and left as they were")
        if self.warned:
            remarks.append(f"{self.warned} with a warning")
        if self.clipped:
            remarks.append(f"{self.clipped} with clipped samples")
        if self.others:
            remarks.append(passed_over(self.others))
        return "".join(f", {remark}" for remark in remarks)


def enhance_files(
    model: Path,
    jobs: Iterable[Job],
    nj: int = 1,
    *,
    log: Path | None = None,
    record: Path | None = None,
    resume: bool = True,
    since: float = 0.0,
    output: Output | None = None,
    report: Callable[[Result], None] | None = None,
    **options,
) -> EnhanceSummary:
    """Enhance every job whose target is missing or older than its source.

    Args:
        model: folder of the trained model.
        jobs: from :func:`plan_jobs`.
        nj: processes; on a GPU, 1.
        log: quarantine list, if one is wanted.
        record: list that a JSON line of each file's result is appended to, if one is wanted.
        resume: skip what is done.
        since: results with an earlier time of change (`st_mtime`) are not done.
        output: how results are written; None as the sources are.
        report: called with each file's result as it is there.
        options: of :class:`Enhancer`: device, batch, decode_dtype, …

    Raises:
        OutputFailed: a result cannot be written; the rest could not be either.
    """
    jobs = list(jobs)
    todo = [job for job in jobs if not (resume and is_done(job, since))]
    summary = EnhanceSummary(skipped=len(jobs) - len(todo))
    quarantine = None if log is None else Quarantine(log)
    if not todo:
        return summary
    start = time.monotonic()
    # Loaded here even where workers load it again: what is wrong with it is said at once.
    enhancer = Enhancer.from_pretrained(model, **options)
    infos = {job: _info(job) for job in todo}
    total = sum(info.seconds for info in infos.values() if isinstance(info, AudioInfo))
    # Counted in seconds of audio: the time left is right for files of any length.
    # Seconds added in another order sum to a little more, and tqdm warns beyond its end.
    bar = tqdm(total=total + 1e-6, desc="enhancing", bar_format=PROGRESS, dynamic_ncols=True)
    with bar, ExitStack() as stack:
        note = None if record is None else stack.enter_context(appended(record))
        if nj == 1:
            results = _here(enhancer, infos, output, bar)
        else:
            results = _in_workers(todo, nj, (model, options, output))
        for result in results:
            if nj > 1:
                bar.update(result.seconds)
            if result.reason is None:
                summary.done += 1
                summary.passed += bool(result.decision and not result.decision.share)
                summary.warned += bool(result.warnings)
                summary.clipped += bool(result.written and result.written.clipped)
                for warning in result.warnings:
                    logging.warning("%s: %s", shown(result.job.source), shown(warning))
                summary.audio_s += result.seconds
            else:
                summary.quarantined += 1
                if quarantine is not None:
                    quarantine.add(result.job.uid, result.job.source, result.reason)
                bar.set_postfix_str(f"{summary.quarantined} bad", refresh=False)
            if note is not None:
                note(json.dumps(result.as_dict(), ensure_ascii=False))
            if report is not None:
                report(result)
    summary.wall_s = time.monotonic() - start
    summary.peak_gb, summary.peak_gpu_gb = peak_gb(), peak_gpu_gb()
    return summary


def _info(job: Job):
    """A file's header, or what is wrong with it."""
    try:
        return read_info(job.source)
    except BadAudio as error:
        return error


def _here(enhancer: Enhancer, infos: dict[Job, object], output, bar) -> Iterator[Result]:
    """One after the other, short files of one rate together."""
    for group in groups(infos, enhancer):
        if len(group) == 1:
            yield enhance_file(enhancer, group[0], output, bar.update)
            continue
        for result in enhance_together(enhancer, group, infos, output):
            bar.update(result.seconds)
            yield result


def groups(infos: dict[Job, object], enhancer: Enhancer) -> Iterator[list[Job]]:
    """Files to enhance at once: of one rate, mono and no longer than a segment; others alone."""
    waiting: dict[int, list[Job]] = {}
    ordered = sorted(
        infos, key=lambda job: infos[job].frames if isinstance(infos[job], AudioInfo) else 0
    )
    for job in ordered:
        info = infos[job]
        short = isinstance(info, AudioInfo) and info.seconds <= enhancer.segment_s
        if enhancer.batch == 1 or not short or info.channels > 1:
            yield [job]
            continue
        group = waiting.setdefault(info.fs, [])
        group.append(job)
        if len(group) >= enhancer.batch:
            yield waiting.pop(info.fs)
    yield from waiting.values()


_WORKER: dict[str, object] = {}


def _start_worker(model: Path, options: dict[str, object], output: Output | None) -> None:
    torch.set_num_threads(1)
    sys.stdout = sys.stderr  # ESPnet prints when it is imported; results go there alone
    _WORKER.update(enhancer=Enhancer.from_pretrained(model, **options), output=output)


def _enhance_in_worker(job: Job) -> Result:
    return enhance_file(_WORKER["enhancer"], job, _WORKER["output"])


def _in_workers(jobs: list[Job], nj: int, start: tuple) -> Iterator[Result]:
    """In `nj` processes; a file that kills its worker is found and goes to quarantine."""
    left, suspects = list(jobs), 0
    while left:
        part, done, broken = left[:suspects] or left, set(), False
        try:
            for result in _pooled(part, 1 if suspects else nj, start):
                done.add(result.job)
                yield result
        except BrokenProcessPool:
            broken = True
        if broken and suspects:
            # One process takes them in order: the first that is missing is the one.
            culprit = next(job for job in part if job not in done)
            done.add(culprit)
            reason = "WorkerDied: the process ended, out of memory or by a fault in a decoder"
            yield Result(culprit, reason=reason)
        elif broken:
            logging.warning("a worker died; files are taken one by one until it is clear why")
        left = [job for job in left if job not in done]
        suspects = 2 * nj if broken and not suspects else 0


def _pooled(jobs: list[Job], nj: int, start: tuple) -> Iterator[Result]:
    """Results as they come; BrokenProcessPool after the last of them if a worker died."""
    broken = None
    with worker_pool(nj, _start_worker, start) as pool:
        futures = [pool.submit(_enhance_in_worker, job) for job in jobs]
        try:
            for future in as_completed(futures):
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    broken = error
                    continue
                yield result
        finally:
            for future in futures:
                future.cancel()
    if broken is not None:
        raise broken
