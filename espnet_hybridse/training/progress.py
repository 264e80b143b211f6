"""`progress.jsonl`: loss, gradients and throughput while an epoch runs."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.train.reporter import SubReporter
from torch import nn

from espnet_hybridse.fileio.lists import atomic_path

FILE = "progress.jsonl"


class ProgressLog:
    """Appends a row every `every` batches and sums the epoch up.

    A row holds: epoch, batch; loss, grad_norm (before clipping) and lr of its last step;
    steps_per_s, audio_per_s (seconds of speech trained on a second) and waiting (share of the time
    spent waiting for data and saving) since the row before; gradients, the norm of each part of
    the model after clipping; gpu_gb, the peak of the GPU's memory, where there is one.

    Args:
        path: JSONL file; rows that a kill put ahead of the weights are dropped from it. None, for
            a process beside the one that writes, only sums up.
        model: whose parts' gradients are measured.
        optimizers: that step it.
        reporter: ESPnet's, of this epoch.
        epoch: the one that runs.
        start: batches that were done before.
        every: batches a row.
        accum_grad: batches a step.
        fetch: brings what is still on the device to the reporter.
    """

    def __init__(
        self,
        path: Path | None,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        reporter: SubReporter,
        epoch: int,
        start: int,
        every: int,
        accum_grad: int,
        fetch: Callable[[], None] = lambda: None,
    ):
        self.path, self.model, self.optimizers = path, model, optimizers
        self.reporter, self.epoch, self.batch = reporter, epoch, start
        self.every, self.accum_grad, self.fetch = every, accum_grad, fetch
        self.gradients: dict[str, float] = {}
        self.audio_s = self.waiting_s = self.running_s = 0.0
        if path is not None:
            drop_rows(path, epoch, start)

    def watch(self, batches: Iterable) -> Iterator:
        """Yield `(uids, batch)`, timing what goes on before and after."""
        hook = self.optimizers[0].register_step_pre_hook(self._measure)
        batches = iter(batches)
        since = mark = time.monotonic()
        audio = waiting = 0.0
        first = self.batch
        try:
            while True:
                asked = time.monotonic()
                try:
                    uids, batch = next(batches)
                except StopIteration:
                    break
                waiting += time.monotonic() - asked
                audio += seconds_of(batch)
                self.batch += 1
                yield uids, batch
                if self.batch % self.every == 0:
                    self.fetch()  # before the clock is read: the GPU has then done the work
                    now = time.monotonic()
                    self._write(self.batch - first, now - mark, audio, waiting)
                    self.audio_s, self.waiting_s = self.audio_s + audio, self.waiting_s + waiting
                    mark, audio, waiting, first = now, 0.0, 0.0, self.batch
        finally:
            hook.remove()
            self.audio_s, self.waiting_s = self.audio_s + audio, self.waiting_s + waiting
            self.running_s = time.monotonic() - since

    def summary(self) -> str:
        """The epoch's throughput in one line of the log."""
        took = max(self.running_s, 1e-9)
        return (
            f"{self.audio_s / took:.1f} s of speech a second, "
            f"{100 * self.waiting_s / took:.0f} % of the time waiting for data"
        )

    @torch.no_grad()
    def _measure(self, *_: Any) -> None:
        if self.path is None:
            return
        row_at = -(-self.batch // self.every) * self.every
        if self.batch + self.accum_grad <= row_at:  # a later step comes before the row
            return
        sums: dict[str, torch.Tensor] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                part = part_of(name)
                square = parameter.grad.float().square().sum()
                sums[part] = sums[part] + square if part in sums else square
        norms = torch.stack(list(sums.values())).sqrt().tolist()
        self.gradients = dict(zip(sums, norms, strict=True))

    def _write(self, batches: int, took: float, audio: float, waiting: float) -> None:
        if self.path is None:
            return
        row = {"epoch": self.epoch, "batch": self.batch}
        for name in ("loss", "grad_norm"):
            if self.reporter.stats.get(name):
                row[name] = float(self.reporter.stats[name][-1].value)
        row["lr"] = self.optimizers[0].param_groups[0]["lr"]
        row["steps_per_s"] = batches / self.accum_grad / max(took, 1e-9)
        row["audio_per_s"] = audio / max(took, 1e-9)
        row["waiting"] = waiting / max(took, 1e-9)
        row["gradients"] = self.gradients
        if torch.cuda.is_available() and next(self.model.parameters()).is_cuda:
            row["gpu_gb"] = torch.cuda.max_memory_allocated() / 1e9
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")


def seconds_of(batch: dict[str, torch.Tensor]) -> float:
    """Seconds of speech in a batch of one rate."""
    wav = batch["speech_mix"]
    return wav.numel() / float(batch["utt2fs"].flatten()[0])


def part_of(name: str) -> str:
    """The part of a model that a parameter belongs to: two names, and the number of a block."""
    words = name.split(".")
    return ".".join(words[: 3 if len(words) > 3 and words[2].isdigit() else 2])


def drop_rows(path: Path, epoch: int, batch: int) -> None:
    """Drop the rows after this batch of this epoch; a torn last line counts as such."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if (row["epoch"], row["batch"]) > (epoch, batch):
            break
        kept.append(line + "\n")
    with atomic_path(path) as tmp:
        tmp.write_text("".join(kept), encoding="utf-8")
