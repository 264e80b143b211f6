"""Training counts what it skips, keeps whole checkpoints, and batches resume anywhere."""

import json

import numpy as np
import pytest
import torch
from espnet2.schedulers.warmup_lr import WarmupLR

from espnet_hybridse.training.checkpoint import atomic_saves
from espnet_hybridse.training.step_counts import StepCounts
from espnet_hybridse.training.time_budget import TimeBudget


def run_epoch(record, losses, epoch=1):
    """Steps as ESPnet's trainer takes them: none where the gradient is not finite."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    counts = StepCounts([optimizer], 1, record, epoch)
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
    assert "(in all 2 of 6)" in run_epoch(record, [1.0, 1.0], epoch=2)
    # Killed before its checkpoint: the epoch is done again and counts once.
    assert "(in all 2 of 7)" in run_epoch(record, [1.0, 1.0, 1.0], epoch=2)
    last = json.loads(record.read_text())["epochs"]["2"]
    assert last == {"steps": 7, "skipped": 2}


def train_for(record, epoch, batches, optimizers):
    """An epoch within a budget of an hour whose batches take 15 minutes each."""
    budget = TimeBudget(1.0, record, epoch)
    rates = []
    for _ in budget.limit(range(batches), optimizers):
        rates.append(optimizers[0].param_groups[0]["lr"])
        budget.spent_s += 900
    budget.keep()
    return budget, rates


def test_hours_without_weights_do_not_count(tmp_path):
    record = tmp_path / "hours.json"
    optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)]
    train_for(record, 1, 2, optimizers)
    budget, _ = train_for(record, 2, 9, optimizers)
    assert budget.exhausted
    # Killed in the validation after it: epoch 2 begins again where epoch 1 ended.
    budget, rates = train_for(record, 2, 9, optimizers)
    assert len(rates) == 2 and budget.exhausted
    assert TimeBudget(1.0, record, 1).spent_s == 0.0


def test_budget_reaches_the_configured_rate_under_a_warm_up(tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = WarmupLR(optimizer, warmup_steps=4000)
    assert optimizer.param_groups[0]["lr"] < 1e-4
    rates = []
    budget = TimeBudget(1.0, tmp_path / "hours.json", 1)
    for _ in budget.limit(range(1000), [optimizer]):
        rates.append(optimizer.param_groups[0]["lr"])
        budget.spent_s += 36
        optimizer.step()
        scheduler.step()
    assert 0.099 < max(rates) <= 0.1 and len(rates) == pytest.approx(100, abs=1)
    assert rates[-1] < 0.003


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


def test_checkpoints_with_numbers_of_numpy_are_read_safely(tmp_path):
    state = {"reporter": {"stats": {1: {"loss": np.float64(0.5), "lrs": [np.float32(2.0)]}}}}
    with atomic_saves():
        torch.save(state, tmp_path / "checkpoint.pth")
    assert torch.load(tmp_path / "checkpoint.pth", weights_only=True) == state


def test_saving_is_as_before_afterwards(tmp_path):
    before = torch.save
    with pytest.raises(RuntimeError), atomic_saves():
        raise RuntimeError
    assert torch.save is before
