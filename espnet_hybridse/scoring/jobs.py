"""The work of scoring one file: it is read once for all of its columns, channel by channel."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from espnet_hybridse.fileio.audio import BadAudio, check_audio, fit_length
from espnet_hybridse.fileio.decode import read_samples
from espnet_hybridse.fileio.formats import shown
from espnet_hybridse.runtime.gpu_faults import gpu_is_lost, memory_is_full
from espnet_hybridse.scoring.metrics.metric import Context, MetricFailed, Setup, Utterance
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.rows import Row

MAX_MISMATCH_S = 0.010
"""Longest difference in length that is cut or padded away; more means a broken system."""
READING = ""
"""What a worker is at when it is at no column."""


class GpuFailed(RuntimeError):
    """A network could not be run on the GPU; `lost` says whether none can be any more."""

    def __init__(self, message: str, lost: bool):
        super().__init__(message)
        self.lost = lost


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

    def only(self, columns: Sequence[str]) -> "Job":
        """The same with those of its columns only."""
        return replace(self, columns=tuple(name for name in self.columns if name in columns))

    def on(self, device: str) -> "Job":
        """The same with networks on another device."""
        return replace(self, setup=replace(self.setup, device=device))


def score_jobs(
    jobs: Sequence[Job], tell: Callable[[str], object] = lambda column: None
) -> list[Row | str]:
    """Rows of a few files; a str is the reason why a file cannot be scored.

    Args:
        tell: called with each column before it is computed, with READING before a file is read.

    Raises:
        GpuFailed: a network could not be run where it should.
    """
    tell(READING)
    loaded = [read_pair(job) for job in jobs]
    networks = {name for job in jobs for name in job.columns if METRICS[name].network}
    for name in networks if len(jobs) > 1 else ():
        tell(name)
        wanted = [
            channel
            for job, channels in zip(jobs, loaded, strict=True)
            if name in job.columns and not isinstance(channels, str)
            for channel in channels
        ]
        try:
            METRICS[name].together(wanted)
        except Exception:  # one bad file may spoil the batch: each is tried alone below
            continue
    return [
        channels if isinstance(channels, str) else score_utterance(job, channels, tell)
        for job, channels in zip(jobs, loaded, strict=True)
    ]


def read_pair(job: Job) -> list[Utterance] | str:
    """Both files at one rate and length, an entry a channel, or why they cannot be compared."""
    try:
        inf, fs = read_samples(job.inf_path)
        check_channels(inf, fs)
        refs: list[np.ndarray | None] = [None] * len(inf)
        if job.ref_path:
            ref, ref_fs = read_reference(job.ref_path)
            if fs != ref_fs:
                raise BadAudio(f"rate {fs} Hz, its reference has {ref_fs} Hz: resample it")
            if len(ref) not in (1, len(inf)):
                raise BadAudio(
                    f"{len(inf)} channels, its reference has {len(ref)}: as many are needed, or one"
                )
            length = ref.shape[1]
            if abs(inf.shape[1] - length) > MAX_MISMATCH_S * fs:
                apart = 1000 * abs(inf.shape[1] - length) / fs
                raise BadAudio(
                    f"{inf.shape[1]} samples, its reference has {length}: {apart:.1f} ms apart, at "
                    f"most {1000 * MAX_MISMATCH_S:.0f} are cut or padded"
                )
            inf = [fit_length(wav, length) for wav in inf]
            refs = [ref[i % len(ref)] for i in range(len(inf))]
    except BadAudio as error:
        return str(error)
    return [
        Utterance(
            np.ascontiguousarray(wav), ref, fs, Context(job.uid, job.text, job.lang, job.setup)
        )
        for wav, ref in zip(inf, refs, strict=True)
    ]


def check_channels(samples: np.ndarray, fs: int) -> None:
    """Raise BadAudio with the reason why (C, T) cannot be scored."""
    for number, wav in enumerate(samples, 1):
        try:
            check_audio(wav, fs)
        except BadAudio as error:
            if len(samples) == 1:
                raise
            raise BadAudio(f"channel {number} of {len(samples)}: {error}") from error


def read_reference(path: str) -> tuple[np.ndarray, int]:
    """(C, T) and rate of a reference; its complaint says that it is not about the enhanced file."""
    try:
        ref, fs = read_samples(path)
        check_channels(ref, fs)
    except BadAudio as error:
        raise BadAudio(f"its reference {shown(path)}: {error}") from error
    return np.ascontiguousarray(ref), fs


def score_utterance(
    job: Job, channels: Sequence[Utterance], tell: Callable[[str], object] = lambda column: None
) -> Row:
    """Compute the columns of one file; one that fails is null, with the reason beside it.

    A file of several channels has the mean of their values, and none where one of them has none.
    """
    scores: dict[str, float | None] = {}
    failed: dict[str, str] = {}
    cost_s: dict[str, float] = {}
    for name in job.columns:
        tell(name)
        start = time.perf_counter()
        found = [value_of(name, channel) for channel in channels]
        bad = [(i, one) for i, one in enumerate(found, 1) if isinstance(one, str)]
        scores[name] = None if bad else float(np.mean(found))
        if bad:
            number, reason = bad[0]
            failed[name] = reason if len(channels) == 1 else f"channel {number}: {reason}"
        cost_s[name] = round(time.perf_counter() - start, 4)
    first = channels[0]
    row = {
        "uid": job.uid,
        "stamp": job.stamp,
        "fs": first.fs,
        "seconds": round(first.inf.size / first.fs, 3),
        "scores": scores,
        "failed": failed,
        "weights": first.context.weights,
        "notes": notes_of(channels),
        "cost_s": cost_s,
        "models": models_of(job, job.columns),
    }
    return row if len(channels) == 1 else {**row, "channels": len(channels)}


def models_of(job: Job, columns: Iterable[str]) -> dict[str, str]:
    """Column -> the weights named for it, where there are."""
    named = {name: job.setup.models.get(METRICS[name].key) for name in columns}
    return {name: model for name, model in named.items() if model}


def value_of(column: str, utterance: Utterance) -> float | str:
    """The value of one channel, or the reason why it has none.

    Raises:
        GpuFailed: the network could not be run on the GPU.
    """
    context = utterance.context
    try:
        value = METRICS[column].compute(utterance.inf, utterance.ref, utterance.fs, context)
        return float(value) if math.isfinite(value) else f"the metric returned {value}"
    except MetricFailed as error:
        return str(error)
    except Exception as error:  # third-party code: one file must not end the batch
        message = shown(f"{type(error).__name__}: {' '.join(str(error).split())}")
        if context.setup.device.startswith("cuda") and METRICS[column].network:
            if (lost := gpu_is_lost(error)) or memory_is_full(error):
                raise GpuFailed(f"{column}: {message[:200]}", lost) from error
        return message


def notes_of(channels: Sequence[Utterance]) -> Mapping[str, str]:
    """What the metrics left beside their values; of several channels each under its number."""
    if len(channels) == 1:
        return channels[0].context.notes
    return {
        f"{name} (channel {number})": note
        for number, channel in enumerate(channels, 1)
        for name, note in channel.context.notes.items()
    }
