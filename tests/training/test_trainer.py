"""Training counts what it skips, keeps whole checkpoints, and batches resume anywhere."""

import json

import numpy as np
import pytest
import torch
from espnet2.schedulers.warmup_lr import WarmupLR
from espnet2.train.reporter import SubReporter

from espnet_hybridse.training import time_budget
from espnet_hybridse.training.checkpoint import atomic_saves
from espnet_hybridse.training.epoch_totals import StepCounts
from espnet_hybridse.training.step_values import StepValues
from espnet_hybridse.training.steps import StepOptions, Stepper
from espnet_hybridse.training.time_budget import Annealing, TimeBudget


def run_epoch(record, finite, epoch=1):
    """The counts of steps whose gradients are finite or not."""
    counts = StepCounts(record, epoch)
    for taken, _ in zip(finite, counts.watch(BATCHES), strict=False):
        counts.step(taken)
    return counts.finish()


BATCHES = [(["u"], {"speech_mix": torch.full((1, 100), 0.1)})] * 10


def test_skipped_steps_are_counted_over_restarts(tmp_path):
    record = tmp_path / "steps.json"
    line = run_epoch(record, [True, False, True, False])
    assert line.startswith("4 steps, 2 skipped") and "input level -20.0 dB" in line
    assert "(in all 2 of 6)" in run_epoch(record, [True, True], epoch=2)
    # Killed before its checkpoint: the epoch is done again and counts once.
    assert "(in all 2 of 7)" in run_epoch(record, [True, True, True], epoch=2)
    last = json.loads(record.read_text())["epochs"]["2"]
    assert last == {"steps": 7, "skipped": 2}


def steps_of(values, accum_grad=1):
    """A Stepper over a model of one weight, whose loss at each batch is `value * weight`."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, speech_mix, **kwargs):
            loss = (self.weight * speech_mix.mean()).reshape(1)
            return loss, {"loss": loss.detach()}, torch.tensor([len(speech_mix)])

    model, judged = Model(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reporter = SubReporter("train", 1, 0)
    stepper = Stepper(
        model,
        [optimizer],
        [None],
        StepOptions(torch.device("cpu"), accum_grad, grad_clip=1.0),
        StepValues(reporter, every=3),
        lambda uids, row, ended: judged.append((uids, row, ended)),
    )
    stepper.run([([f"u{i}"], {"speech_mix": torch.tensor([[v]])}) for i, v in enumerate(values)])
    return model, reporter, judged


def test_values_come_to_the_reporter_late_but_whole():
    model, reporter, judged = steps_of([0.5, float("nan"), 2.0, 0.25])
    assert [uids for uids, *_ in judged] == [["u0"], ["u1"], ["u2"], ["u3"]]
    losses = [value.value for value in reporter.stats["loss"]]
    assert losses[0] == 0.5 and np.isnan(losses[1]) and losses[2] == pytest.approx(2 * 0.95)
    assert [row["clip"] for _, row, _ in judged] == [0, 0, 100, 0]
    # The step of NaN is left out; 2.0 is clipped to 1.
    assert model.weight.item() == pytest.approx(1 - 0.1 * (0.5 + 1.0 + 0.25))
    assert reporter.count == 4


def test_batches_of_one_step_are_summed():
    model, _, judged = steps_of([0.2, 0.4, 0.6], accum_grad=2)
    assert model.weight.item() == pytest.approx(1 - 0.1 * 0.3)
    assert [ended for *_, ended in judged] == [False, True, False]
    assert "grad_norm" in judged[1][1] and "grad_norm" not in judged[2][1]


class Clock:
    """Hours that pass when told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time_budget.time, "monotonic", lambda: self.now)


def train_for(budget, clock, epoch, batches, validation_s=0):
    """An epoch whose batches take 15 minutes each."""
    budget.begin(epoch)
    taken = 0
    for _ in budget.limit(range(batches)):
        taken += 1
        clock.now += 900
    clock.now += validation_s
    budget.tick()
    budget.keep(validation_s)
    return taken


def test_hours_without_weights_do_not_count(tmp_path, monkeypatch):
    clock, record = Clock(monkeypatch), tmp_path / "hours.json"
    assert train_for(TimeBudget(1.0, record), clock, 1, 2) == 2
    budget = TimeBudget(1.0, record)
    assert train_for(budget, clock, 2, 9) == 2 and budget.exhausted
    # Killed before its checkpoint: epoch 2 begins again where epoch 1 ended.
    budget = TimeBudget(1.0, record)
    assert train_for(budget, clock, 2, 9) == 2 and budget.exhausted
    budget.begin(1)
    assert budget.spent_s == 0.0


def test_validation_counts_and_the_last_one_fits(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    budget = TimeBudget(2.0, tmp_path / "hours.json")
    taken = [train_for(budget, clock, epoch, 3, validation_s=600) for epoch in (1, 2)]
    assert budget.over and clock.now <= 2 * 3600 and sum(taken) == 6


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_the_rate_rises_to_its_peak_and_ends_at_zero(shape):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = WarmupLR(optimizer, warmup_steps=4000)
    assert optimizer.param_groups[0]["lr"] < 1e-4
    rates = []
    annealing = Annealing([optimizer], shape, warmup_share=0.1)
    for _ in annealing.watch(range(100), lambda batch: batch / 100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(0.005) and max(rates) == pytest.approx(0.1, rel=0.01)
    assert rates[:10] == sorted(rates[:10]) and rates[11:] == sorted(rates[11:], reverse=True)
    assert 0 < rates[-1] < 0.001
    middle = {"cosine": 0.5, "linear": 0.5}[shape]
    assert annealing.factor(0.55) == pytest.approx(middle)


def test_annealing_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="anneal='step' is not one of cosine, linear, constant"):
        Annealing([], "step")
    with pytest.raises(ValueError, match="warmup_share=1.5 must lie in"):
        Annealing([], "cosine", 1.5)


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
