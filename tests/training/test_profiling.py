"""What --profile forecasts follows from what it measured."""

from pathlib import Path

import pytest
import torch

from espnet_hybridse.training import profiling
from espnet_hybridse.training.profiling import Plan, Profile, ProfileDone


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(profiling.time, "perf_counter", lambda: self.now)


def batches(clock, number, waiting_s=0.1):
    """Batches of eight seconds of speech, each of which takes a while to come."""
    wav = torch.zeros(4, 32000)
    for _ in range(number):
        clock.now += waiting_s
        yield ["u"], {"speech_mix": wav, "utt2fs": torch.full((4, 1), 16000)}


def measured(clock, folder, plan):
    """Four steps of 0.4 s and validation batches of 0.2 s."""
    profile = Profile(4, folder, plan, torch.device("cpu"))
    for _ in profile.training(batches(clock, 20)):
        clock.now += 0.4
    for _ in profile.validation(batches(clock, 100, waiting_s=0.0), total=50):
        clock.now += 0.2
    return profile


def test_hours_memory_and_disk_of_the_whole(tmp_path, monkeypatch):
    clock, model = Clock(monkeypatch), torch.nn.Linear(1000, 1000)
    plan = Plan(max_epoch=36, train_batches=1980, max_hours=5.0, average=True, keep=5)
    profile = measured(clock, tmp_path, plan)
    with pytest.raises(ProfileDone) as done:
        profile.finish(model)
    assert done.value.code == 0
    text = (tmp_path / "profile.txt").read_text()
    assert "a batch takes 0.500 s, of which 20 % are waiting for data" in text
    assert "holds 8.0 s of speech" in text
    # 1980 x 0.5 s + 50 x 0.2 s = 1000 s; 36 of them are 10 h.
    assert "an epoch takes 16.7 min: 1980 batches, then 0.2 min for 50 of validation" in text
    assert "36 epochs take 10.0 h and hear 158 h of speech" in text
    assert "--max_hours 5.0 ends it before: after 18.0 epochs, 79 h of speech" in text
    assert "| 4 | 10.0 | 634 | 2.5 |" in text
    # A million weights of 4 bytes: weights, two moments, an average.
    assert "disk: 0.016 GB a checkpoint, 0.096 GB in all" in text
    assert "memory of a process:" in text and "aten::" in text
    assert "4 MB of gradients" in text and "of its own, of batch_per_gpu utterances" in text
    assert (tmp_path / "profile.json").is_file()


def test_processes_share_the_work(tmp_path, monkeypatch):
    plan = Plan(max_epoch=36, train_batches=1980, processes=2)
    text = measured(Clock(monkeypatch), tmp_path, plan).forecast(torch.nn.Linear(1, 1))
    assert "| 2 | 10.0 | 317 | 10.0 |" in text and "| 16 | 10.0 | 2534 | 1.2 |" in text


def test_too_short_an_epoch_is_named(tmp_path, monkeypatch):
    profile = Profile(4, Path(tmp_path), Plan(1, 5), torch.device("cpu"))
    with pytest.raises(RuntimeError, match="the epoch has 5 batches, 11 are needed"):
        list(profile.training(batches(Clock(monkeypatch), 5)))
