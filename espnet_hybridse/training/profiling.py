"""`--profile N`: where a training step's time and memory go, and what the whole training takes."""

import logging
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.training.guards import checkpoint_bytes, kept_bytes
from espnet_hybridse.training.progress import seconds_of

WARM_UP = 3
"""Batches before: allocation, autotuning and the workers' start are no part of a step."""
ROWS = 25
MACHINES = (1, 2, 4, 8)
GB = 1e9


class ProfileDone(SystemExit):
    """Ends the process with code 0 once the profile is written: nothing is trained or saved."""


@dataclass
class Plan:
    """What the configuration asks for.

    Attributes:
        max_epoch: epochs.
        train_batches: of an epoch of one process.
        processes: that train now.
        max_hours: where training is bounded in time.
        average: whether a moving average of the weights is kept.
        keep: epochs whose weights are kept.
    """

    max_epoch: int
    train_batches: int
    processes: int = 1
    max_hours: float | None = None
    average: bool = False
    keep: int = 1


@dataclass
class Profile:
    """Measures the first steps and validation batches, and forecasts the rest from them.

    Args:
        steps: batches to time, and as many again to profile.
        folder: for `profile.txt`, the forecast and a table of operators, and `profile.json`, a
            trace for a browser's chrome://tracing or https://ui.perfetto.dev.
        plan: of the training.
        device: on which it runs.
    """

    steps: int
    folder: Path
    plan: Plan
    device: torch.device
    step_s: float = 0.0
    audio_s: float = 0.0
    waiting_s: float = 0.0
    valid_s: float = 0.0
    valid_batches: int = 0
    operators: str = field(default="", repr=False)

    def training(self, batches: Iterable) -> Iterator:
        """Yield the batches that are measured, then no more.

        Raises:
            RuntimeError: there are fewer.
        """
        needed = WARM_UP + 2 * self.steps
        batches, taken = iter(batches), 0
        for batch in islice(batches, WARM_UP):
            taken += 1
            yield batch
        begun = self._now()
        for _ in range(self.steps):
            asked = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            self.waiting_s += time.perf_counter() - asked
            self.audio_s += seconds_of(batch[1])
            taken += 1
            yield batch
        self.step_s = (self._now() - begun) / self.steps
        activities = [ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        with profile(activities=activities, profile_memory=True) as recorder:
            for batch in islice(batches, self.steps):
                taken += 1
                yield batch
        if taken < needed:
            raise RuntimeError(
                f"--profile {self.steps}: the epoch has {taken} batches, {needed} are needed; "
                "profile fewer, or set num_iters_per_epoch"
            )
        key = f"self_{self.device.type}_time_total"
        averages = recorder.key_averages()
        self.operators = averages.table(sort_by=key, row_limit=ROWS, max_name_column_width=60)
        with atomic_path(self.folder / "profile.json") as tmp:
            recorder.export_chrome_trace(str(tmp))

    def validation(self, batches: Iterable, total: int) -> Iterator:
        """Yield at most `steps` + 1 of `total` batches; all but the first are timed."""
        batches = iter(batches)
        yield from islice(batches, 1)
        begun, count = self._now(), 0
        for batch in islice(batches, self.steps):
            count += 1
            yield batch
        self.valid_s = (self._now() - begun) / count if count else 0.0
        self.valid_batches = total

    def finish(self, model: torch.nn.Module) -> None:
        """Write what was found.

        Raises:
            ProfileDone: always.
        """
        text = f"{self.forecast(model)}\n\n{self.steps} steps after {WARM_UP} of warm-up\n"
        with atomic_path(self.folder / "profile.txt") as tmp:
            tmp.write_text(f"{text}{self.operators}\n", encoding="utf-8")
        logging.info(f"profiled: {self.folder}/profile.txt, {self.folder}/profile.json")
        raise ProfileDone(0)

    def forecast(self, model: torch.nn.Module) -> str:
        """Hours, memory and disk of the whole training, on as many of this machine as it may be."""
        plan = self.plan
        valid_s = self.valid_s * self.valid_batches
        epoch_s = self.step_s * plan.train_batches + valid_s
        hours = epoch_s * plan.max_epoch / 3600
        audio = self.audio_s / self.steps * plan.train_batches * plan.max_epoch / 3600
        lines = [
            f"a batch takes {self.step_s:.3f} s, of which {self._waiting():.0f} % are waiting for "
            f"data, and holds {self.audio_s / self.steps:.1f} s of speech",
            f"an epoch takes {epoch_s / 60:.1f} min: {plan.train_batches} batches, then "
            f"{valid_s / 60:.1f} min for {self.valid_batches} of validation",
            f"{plan.max_epoch} epochs take {hours:.1f} h and hear {audio:.0f} h of speech",
        ]
        if plan.max_hours is not None and plan.max_hours < hours:
            share = plan.max_hours / hours
            lines.append(
                f"--max_hours {plan.max_hours} ends it before: after {share * plan.max_epoch:.1f} "
                f"epochs, {share * audio:.0f} h of speech"
            )
        lines += [self._memory(), self._disk(model), "", self._on_more(hours, audio, model)]
        return "\n".join(lines)

    def _waiting(self) -> float:
        return 100 * self.waiting_s / max(self.step_s * self.steps, 1e-9)

    def _memory(self) -> str:
        # Kilobytes on Linux, bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        text = f"memory of a process: {resident / GB:.1f} GB"
        if self.device.type == "cuda":
            peak, held = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
            text += f"; of its GPU: {peak / GB:.1f} GB used, {held / GB:.1f} GB held"
        return text

    def _disk(self, model: torch.nn.Module) -> str:
        plan = self.plan
        one = checkpoint_bytes(model, plan.average) / GB
        kept = kept_bytes(model, plan.average, plan.keep) / GB
        return f"disk: {one:.3f} GB a checkpoint, {kept:.3f} GB in all"

    def _on_more(self, hours: float, audio: float, model: torch.nn.Module) -> str:
        """The table over numbers of machines; the exchange of gradients is not measured."""
        gradients = sum(p.numel() for p in model.parameters() if p.requires_grad) * 4 / 1e6
        processes = self.plan.processes
        rows = [
            {
                "processes": n * processes,
                "hours": round(hours, 1),
                "speech": round(audio * processes * n),
                "same": round(hours / n, 1),
            }
            for n in MACHINES
        ]
        columns = {
            "processes": ("processes (GPUs)", "{}"),
            "hours": ("hours of all epochs", "{}"),
            "speech": ("hours of speech heard", "{}"),
            "same": ("hours for as much speech as now", "{}"),
        }
        return (
            f"{Table.of(rows, columns).markdown()}\n"
            "every process has batches of its own, of batch_per_gpu utterances;\n"
            f"without the exchange of {gradients:.0f} MB of gradients a step, which is not measured"
        )

    def _now(self) -> float:
        """The clock, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
