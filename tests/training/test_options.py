"""Batch, learning rate and validation labels of a training, in this process."""

import pytest
import torch
from espnet2.train.reporter import SubReporter
from helpers.training_runs import make_run, train_here, weights

from espnet_hybridse.training.step_values import StepValues
from espnet_hybridse.training.steps import StepOptions, validate
from espnet_hybridse.training.task import HybridEnhancementTask, batch_per_gpu


def options(*words):
    return HybridEnhancementTask.get_parser().parse_args(["--output_dir", "exp", *words])


@pytest.mark.parametrize("batch, rate", [(8, 0.001), (32, 0.002), (2, 0.0005)])
def test_the_learning_rate_follows_the_root_of_the_batch(batch, rate):
    words = ["--optim", "adamw", "--optim_conf", "lr=0.001", "--lr_batch", "16"]
    args = options(*words, "--batch_per_gpu", str(batch), "--accum_grad", "2")
    [optimizer] = HybridEnhancementTask.build_optimizers(args, torch.nn.Linear(1, 1))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)
    assert args.optim_conf == {"lr": 0.001}, "config.yaml says what was asked for"


def test_one_name_of_the_batch_at_a_time():
    assert batch_per_gpu(options("--batch_size", "3")) == 3
    assert batch_per_gpu(options("--batch_per_gpu", "5")) == 5
    with pytest.raises(ValueError, match="batch_per_gpu=5 and batch_size=3 both say how many"):
        batch_per_gpu(options("--batch_per_gpu", "5", "--batch_size", "3"))


class Losses(torch.nn.Module):
    """A model whose utterances' losses are their first samples."""

    def forward(self, speech_mix, **kwargs):
        each = speech_mix[:, 0]
        stats = {"loss": each.mean().reshape(1), "loss_of_each": each}
        return each.mean().reshape(1), stats, torch.tensor([len(each)])


def test_validation_is_told_by_rate_and_by_distortion():
    labels = {"a": ("8k", "noise"), "b": ("8k", "noise", "clipping"), "c": ("16k", "noise")}
    batches = [
        (["a", "b"], {"speech_mix": torch.tensor([[1.0], [3.0]])}),
        (["c"], {"speech_mix": torch.tensor([[5.0]])}),
    ]
    reporter = SubReporter("valid", 1, 0)
    validate(Losses(), batches, StepOptions(torch.device("cpu")), StepValues(reporter), labels)
    found = {
        name: sum(v.value * v.weight for v in values if v.weight) / sum(v.weight for v in values)
        for name, values in reporter.stats.items()
    }
    assert found == {
        "loss": 3.0,
        "loss_8k": 2.0,
        "loss_16k": 5.0,
        "loss_clipping": 3.0,
        "loss_noise": 3.0,
    }


def test_a_training_logs_them(rendered, tmp_path):
    run = make_run(rendered, tmp_path, num_iters_per_epoch=2)
    train_here(run)
    stats = weights(tmp_path / "checkpoint.pth")["reporter"]["stats"][1]["valid"]
    assert {"loss_8k", "loss_16k"} <= stats.keys(), "the rates of the set"
    assert len([name for name in stats if name.startswith("loss_")]) > 2, "and its distortions"
    rates = {name: stats[name] for name in stats if name[5:6].isdigit()}
    assert min(rates.values()) <= stats["loss"] <= max(rates.values())
