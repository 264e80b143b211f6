"""`--profile N`: where the time and the memory of a training step go."""

import logging
from pathlib import Path
from typing import Iterable, Iterator

import torch
from torch.profiler import ProfilerActivity, profile

from espnet_hybridse.fileio.lists import atomic_path

WARM_UP = 3
"""Steps before: allocation, autotuning and the workers' start are no part of a step."""
ROWS = 25


class ProfileDone(SystemExit):
    """Ends the process with code 0 once the profile is written: nothing is trained or saved."""


def profiled(batches: Iterable, steps: int, folder: Path) -> Iterator:
    """Yield batches; the `steps` after the warm-up are profiled into `folder`.

    Leaves `profile.txt`, a table of operators, and `profile.json`, a trace for a browser's
    chrome://tracing or https://ui.perfetto.dev.

    Raises:
        ProfileDone: after the last of them.
        RuntimeError: there are fewer batches.
    """
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    recorder = profile(activities=activities, profile_memory=True)
    number = 0
    for number, batch in enumerate(batches, 1):
        if number == WARM_UP + 1:
            recorder.start()
        yield batch
        if number == WARM_UP + steps:
            recorder.stop()
            _write(recorder, steps, folder)
            raise ProfileDone(0)
    if number > WARM_UP:
        recorder.stop()
    raise RuntimeError(
        f"--profile {steps}: the epoch has {number} batches, {WARM_UP + steps} are needed; "
        "profile fewer, or set num_iters_per_epoch"
    )


def _write(recorder: profile, steps: int, folder: Path) -> None:
    key = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    table = recorder.key_averages().table(sort_by=key, row_limit=ROWS, max_name_column_width=60)
    with atomic_path(folder / "profile.json") as tmp:
        recorder.export_chrome_trace(str(tmp))
    with atomic_path(folder / "profile.txt") as tmp:
        tmp.write_text(f"{steps} steps after {WARM_UP} of warm-up\n{table}\n", encoding="utf-8")
    logging.info(f"{steps} steps profiled: {folder}/profile.txt, {folder}/profile.json")
