"""Training can be stopped anywhere, and nothing that goes wrong costs its last good state."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from helpers.training_runs import assert_equal, make_run, stop_at, train_here, weights
from torch.utils.data import DataLoader, Dataset

from espnet_hybridse.cli.main import main
from espnet_hybridse.data.iterator import EpochBatches, EpochIterFactory
from espnet_hybridse.data.preprocessor import HybridPreprocessor
from espnet_hybridse.model.files import ModelFiles, find_weights
from espnet_hybridse.model.loading import load_model
from espnet_hybridse.training.checkpoint import atomic_saves, mend
from espnet_hybridse.training.ema import WeightAverage
from espnet_hybridse.training.guards import refuse_blind_validation, refuse_full_disk
from espnet_hybridse.training.step_checkpoint import StepCheckpoint
from espnet_hybridse.training.trainer import HybridTrainer

EMA = {"ema_decay": 0.9, "save_steps": 4, "num_iters_per_epoch": 12, "max_epoch": 2}


@pytest.fixture(scope="module")
def whole(rendered, tmp_path_factory):
    """Two epochs of 12 steps that nothing stopped."""
    run = make_run(rendered, tmp_path_factory.mktemp("whole"), **EMA)
    train_here(run)
    return run.exp


def rows(exp):
    lines = (exp / "progress.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("call", [7, 12, 18])
def test_stopped_in_an_epoch_is_as_if_never_stopped(rendered, whole, tmp_path, monkeypatch, call):
    run = make_run(rendered, tmp_path, **EMA)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, call)
        train_here(run)
    assert (tmp_path / "checkpoint_step.pth").is_file()
    # Other workers draw the same crops.
    train_here(run, "--num_workers", "2")
    for name in ("1epoch.pth", "2epoch.pth"):
        assert_equal(weights(tmp_path / name), weights(whole / name))
    mine, theirs = weights(tmp_path / "checkpoint.pth"), weights(whole / "checkpoint.pth")
    assert_equal(mine["model"], theirs["model"])
    assert_equal(mine["ema"]["shadow"], theirs["ema"]["shadow"])
    assert mine["ema"]["updates"] == theirs["ema"]["updates"] == 24
    for epoch in (1, 2):
        one, other = (c["reporter"]["stats"][epoch]["train"] for c in (mine, theirs))
        assert one["loss"] == other["loss"] and one["total_count"] == other["total_count"]
    assert [(r["epoch"], r["batch"], r["loss"]) for r in rows(tmp_path)] == [
        (r["epoch"], r["batch"], r["loss"]) for r in rows(whole)
    ]
    steps = [json.loads((exp / "steps.json").read_text()) for exp in (tmp_path, whole)]
    assert steps[0] == steps[1]
    assert not (tmp_path / "checkpoint_step.pth").exists(), "nothing is left to go on from"


@pytest.mark.slow
def test_another_epoch_length_begins_the_epoch_again(rendered, tmp_path, monkeypatch, caplog):
    run = make_run(rendered, tmp_path, save_steps=4)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 6)
        train_here(run)
    train_here(make_run(rendered, tmp_path, save_steps=4, num_iters_per_epoch=9))
    assert [row["batch"] for row in rows(tmp_path)] == list(range(1, 10))


def test_rows_tell_gradients_and_throughput(whole):
    row = rows(whole)[-1]
    assert (row["epoch"], row["batch"]) == (2, 12)
    assert row["audio_per_s"] > 0 and 0 <= row["waiting"] <= 1 and row["steps_per_s"] > 0
    # Clipped to 1: the parts' norms add up to no more.
    total = sum(value**2 for value in row["gradients"].values()) ** 0.5
    assert total == pytest.approx(min(1.0, row["grad_norm"]), rel=1e-3)
    assert {"separator.blocks.0", "separator.deconv"} <= set(row["gradients"])


def test_inference_uses_the_average_which_can_be_left_off(rendered, whole, tmp_path):
    checkpoint = weights(whole / "checkpoint.pth")
    shadow = checkpoint["ema"]["shadow"]
    files = replace(ModelFiles.read(whole), weights=whole / "2epoch.pth")
    used = load_model(files).model.state_dict()
    assert all(torch.equal(used[name], value) for name, value in shadow.items())
    assert any(not torch.equal(checkpoint["model"][name], shadow[name]) for name in shadow)
    run = make_run(rendered, tmp_path, num_iters_per_epoch=2)
    train_here(run)
    plain = weights(tmp_path / "checkpoint.pth")
    assert "ema" not in plain
    assert_equal(plain["model"], weights(tmp_path / "1epoch.pth"))


def test_average_follows_its_definition():
    model = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, 0.5)
    torch.nn.init.constant_(model.weight, 1.0)
    average.start()
    expected = 1.0
    for step in range(1, 30):
        torch.nn.init.constant_(model.weight, step)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.shadow["weight"]) == pytest.approx(expected)
    with average.in_place():
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 29.0
    with pytest.raises(ValueError, match="ema_decay=1.5: expected a number between 0 and 1"):
        WeightAverage(model, 1.5)


def test_the_average_s_horizon_grows_with_the_steps():
    average = WeightAverage(torch.nn.Linear(1, 1), share=0.05)
    average.updates = 999
    assert 1 / average.rate() == pytest.approx(51)
    average.updates = 99_999
    assert 1 / average.rate() == pytest.approx(5001)
    bounded = WeightAverage(average.model, 0.999, 0.05)
    bounded.updates = 99_999
    assert bounded.rate() == pytest.approx(0.001)
    with pytest.raises(ValueError, match="ema_share=2: expected a number between 0 and 1"):
        WeightAverage(average.model, share=2)


@pytest.mark.slow
def test_a_network_that_became_nan_stops_and_keeps_its_checkpoint(rendered, tmp_path, monkeypatch):
    changes = {"num_iters_per_epoch": 4, "nan_patience": 3}
    train_here(make_run(rendered, tmp_path, **changes))
    before = (tmp_path / "checkpoint.pth").read_bytes()
    state = weights(tmp_path / "checkpoint.pth")
    broken = {**state, "model": {k: v * float("nan") for k, v in state["model"].items()}}
    torch.save(broken, tmp_path / "checkpoint.pth")
    again = make_run(rendered, tmp_path, **changes, max_epoch=2)
    with pytest.raises(RuntimeError, match="3 steps in a row had a gradient of NaN .*good"):
        train_here(again)
    # What is NaN is not written, whoever made it so.
    (tmp_path / "checkpoint.pth").write_bytes(before)
    with atomic_saves(lambda path, saved: HybridTrainer.prepare(path, saved, None)):
        with pytest.raises(RuntimeError, match="is not written: encoder|separator.*NaN or Inf"):
            torch.save(broken, tmp_path / "checkpoint.pth")
    assert (tmp_path / "checkpoint.pth").read_bytes() == before
    train_here(again)
    assert (tmp_path / "2epoch.pth").is_file()


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_a_full_gpu_says_what_to_change(rendered, tmp_path, monkeypatch, words):
    stop_at(monkeypatch, 2, RuntimeError(words))
    with pytest.raises(RuntimeError, match="the GPU is full: lower batch_per_gpu") as told:
        train_here(make_run(rendered, tmp_path))
    assert words in str(told.value)


def test_validation_without_a_finite_loss_is_refused():
    refuse_blind_validation([float("nan"), 1.0])
    refuse_blind_validation([])
    with pytest.raises(RuntimeError, match="loss of all 2 batches is NaN or Inf"):
        refuse_blind_validation([float("nan"), float("inf")])


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_broken_checkpoint_costs_one_epoch(whole, tmp_path, damage):
    for name in ("checkpoint.pth", "checkpoint_previous.pth"):
        shutil.copy(whole / name, tmp_path / name)
    path = tmp_path / "checkpoint.pth"
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        weight = weights(path)["model"]["separator.conv.0.weight"].numpy().tobytes()
        where = content.index(weight)
        path.write_bytes(content[:where] + bytes([content[where] ^ 255]) + content[where + 1 :])
    else:
        path.unlink()
    mend(tmp_path)
    assert weights(path)["reporter"]["epoch"] == 1
    path.write_bytes(b"torn")
    (tmp_path / "checkpoint_previous.pth").write_bytes(b"torn")
    with pytest.raises(RuntimeError, match="no whole checkpoint_previous.pth beside it"):
        mend(tmp_path)


@pytest.mark.slow
def test_a_disk_without_room_is_named_before_and_survived_during(tmp_path):
    model = torch.nn.Linear(10, 10)
    refuse_full_disk(tmp_path, model, True, [5])
    with torch.device("meta"):
        huge = torch.nn.Linear(10**8, 10**5)
    with pytest.raises(RuntimeError, match=r"\d+\.\d+ GB needed for the checkpoints.*GB free"):
        refuse_full_disk(tmp_path, huge, True, [5])
    code = """
import resource, signal, sys, torch
from espnet_hybridse.training.checkpoint import atomic_saves
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with atomic_saves():
    torch.save({"a": torch.zeros(10)}, "checkpoint.pth")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    try:
        torch.save({"a": torch.zeros(10**6)}, "checkpoint.pth")
    except RuntimeError as error:
        print(error)
print(torch.load("checkpoint.pth", weights_only=True)["a"].shape)
"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "checkpoint.pth cannot be written" in told and "run the same command again" in told
    assert "torch.Size([10])" in told and os.listdir(tmp_path) == ["checkpoint.pth"]


class Speech:
    """A dataset as ESPnet's with one utterance's audio for all."""

    preprocess = HybridPreprocessor(train=True, chunk_s=0.5)

    def __getitem__(self, uid):
        ramp = torch.arange(16000.0).numpy()
        data = {"speech_mix": ramp, "speech_ref1": ramp, "fs": torch.tensor([16000]).numpy()}
        return uid, self.preprocess(uid, data)


def starts(workers, position=0, epoch=1):
    batches = [["a", "b"], ["a", "c"], ["d"]]
    factory = EpochIterFactory(Speech(), batches, num_workers=workers, collate_fn=list)
    loader = factory.build_iter(epoch)
    loader.batch_sampler.position = position
    return [[int(data["speech_mix"][0]) for _, data in batch] for batch in loader]


def test_crops_depend_on_their_place_alone():
    assert starts(0) == starts(2) != starts(0, epoch=2)
    assert starts(1, position=1) == starts(0)[1:]
    assert starts(0)[0][0] != starts(0)[1][0], "an utterance met twice is cut elsewhere"


@pytest.mark.slow
def test_overfit_and_profile(rendered, tmp_path, capsys):
    run = make_run(rendered, tmp_path / "exp")
    sets = [f"--{name}={run.train}" for name in ("train", "valid")]
    command = ["train", "--branch=disc", f"--config={run.config}", f"--exp={run.exp}", *sets]
    lengths = ["--", "--max_epoch", "4", "--num_iters_per_epoch", "10", "--log_interval", "1"]
    assert main([*command, "--overfit", "1", *lengths]) == 0
    assert "loss on 1 utterances" in capsys.readouterr().out
    log = (run.exp / "train.log").read_text()
    assert "[train] 1 batches of 1 utterances" in log and "[valid] 1 batches" in log
    losses = [row["loss"] for row in rows(run.exp)]
    assert losses[-1] < losses[0]
    profile = [*command[:3], f"--exp={tmp_path}/profile", *sets, "--profile", "2"]
    assert main(profile) == 0
    assert "2 steps after 3 of warm-up" in (out := capsys.readouterr().out) and "aten::" in out
    assert "epochs take" in out and "GB a checkpoint" in out
    assert json.loads((tmp_path / "profile/profile.json").read_text())["traceEvents"]
    assert not list((tmp_path / "profile").glob("*.pth"))
    assert main([*profile[:-1], "50"]) == 2
    assert "103 are needed" in capsys.readouterr().err


def test_the_process_that_saves_judges_for_all(tmp_path):
    """Ranks have other parts of the same batches, and go on together or not at all."""
    path, parts = tmp_path / "checkpoint_step.pth", {"model": torch.nn.Linear(2, 2)}
    mine, other = EpochBatches([["a"], ["c"]]), EpochBatches([["b"], ["d"]])
    saving = StepCheckpoint(path, parts, epoch=1, every=1, seed=0)
    list(saving.watch(DataLoader(Letters(), batch_sampler=mine)))
    state = saving.find(mine)
    assert state["position"] == 1 and saving.find(other) is None
    beside = StepCheckpoint(path, parts, epoch=1, every=1, seed=0, writes=False)
    beside.take_up(beside.find(other), other)
    assert other.position == 1 and list(other) == [[(1, 1, "d")]]
    assert StepCheckpoint(path, parts, epoch=2, every=1, seed=0).find(mine) is None
    path.write_bytes(b"torn")
    assert saving.find(mine) is None


class Letters(Dataset):
    """Items that are their own keys."""

    def __getitem__(self, key):
        return key[-1]


def test_fine_tuning_that_harms_keeps_the_start(rendered, whole, tmp_path):
    harmful = {"optim_conf": {"lr": 1.0}, "num_iters_per_epoch": 2, "keep_nbest_models": 1}
    harmful["ema_share"] = 0.05
    run = replace(make_run(rendered, tmp_path, max_epoch=2, **harmful), init=whole)
    train_here(run)
    start = weights(find_weights(whole))
    assert_equal(weights(find_weights(tmp_path)), start)
    trained = weights(tmp_path / "checkpoint.pth")["model"]
    assert any(not torch.equal(trained[name], start[name]) for name in start)
