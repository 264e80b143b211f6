"""Training counts what it skips, keeps whole checkpoints, and batches resume anywhere."""

import json

import pytest
import torch

from espnet_hybridse.atomic_save import atomic_saves
from espnet_hybridse.step_counts import StepCounts


def run_epoch(record, losses):
    """Steps as ESPnet's trainer takes them: none where the gradient is not finite."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    counts = StepCounts([optimizer], 1, record)
    batches = [(["u"], {"speech_mix": torch.full((1, 100), 0.1)}) for _ in losses]
    for (_, batch), factor in zip(counts.watch(batches), losses, strict=True):
        (weight * batch["speech_mix"].sum() * factor).sum().backward()
        if torch.nn.utils.clip_grad_norm_([weight], 1.0).isfinite():
            optimizer.step()
        optimizer.zero_grad()
    return counts.finish()


def test_skipped_steps_are_counted_over_restarts(tmp_path):
    record = tmp_path / "steps.json"
    line = run_epoch(record, [1.0, float("nan"), 1.0, float("inf")])
    assert line.startswith("4 steps, 2 skipped") and "input level -20.0 dB" in line
    assert "(in all 2 of 6)" in run_epoch(record, [1.0, 1.0])
    assert json.loads(record.read_text()) == {"steps": 6, "skipped": 2}


def test_a_killed_save_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pth"

    class Killed:
        def __reduce__(self):
            raise KeyboardInterrupt

    with atomic_saves():
        torch.save({"epoch": 1}, path)
        with pytest.raises(KeyboardInterrupt):
            torch.save({"epoch": 2, "broken": Killed()}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_saving_is_as_before_afterwards(tmp_path):
    before = torch.save
    with pytest.raises(RuntimeError), atomic_saves():
        raise RuntimeError
    assert torch.save is before
