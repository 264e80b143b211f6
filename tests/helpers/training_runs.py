"""A tiny discriminative training that tests start, break and take up again in this process."""

from pathlib import Path

import torch
import yaml
from helpers.tiny_models import DISC

from espnet_hybridse.training.rotation import read_checkpoint
from espnet_hybridse.training.run import TrainingRun
from espnet_hybridse.training.task import HybridEnhancementTask

CONF = Path(__file__).parents[2] / "conf" / "mini"


def write_config(path, **changes):
    """The mini preset with a tiny network and short epochs."""
    config = yaml.safe_load((CONF / "train_disc.yaml").read_text())
    # Rounding to bfloat16, which some processors prefer, would hide what these tests compare.
    config["separator_conf"].update(DISC, amp_dtype=None)
    config.update({"max_epoch": 1, "num_iters_per_epoch": 12, "num_workers": 0, "batch_size": 2})
    config.update({"log_interval": 1, "preprocessor_conf": {"chunk_s": 0.5}, **changes})
    path.write_text(yaml.safe_dump(config))
    return path


def make_run(rendered, folder, **changes):
    """The run of one experiment folder; `changes` of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    sets = rendered / "dump/raw/train"
    return TrainingRun("disc", write_config(folder / "disc.yaml", **changes), folder, sets, sets)


def train_here(run, *options):
    """Train in this process: `run.command()` without the interpreter and the module."""
    HybridEnhancementTask.main(cmd=[*run.command()[3:], *options])


def weights(path):
    return read_checkpoint(path)


def assert_equal(one, other):
    """Two state dicts are the same bit for bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def stop_at(monkeypatch, call, error=KeyboardInterrupt):
    """Let the model's forward raise in training at its `call`-th batch, as a kill would come."""
    from espnet_hybridse.model.espnet_model import HybridEnhancementModel

    forward, calls = HybridEnhancementModel.forward, []

    def stopping(self, *args, **kwargs):
        calls.append(self.training)
        if sum(calls) == call:
            raise error
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(HybridEnhancementModel, "forward", stopping)
