"""Tiny trainings that tests start, break and take up again in this process."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from helpers.tiny_models import DISC, FUSION, GEN, SPEECH_TRANSFORMER

from espnet_hybridse.tokens.manifest import write_manifest
from espnet_hybridse.training.checkpoint import read_checkpoint
from espnet_hybridse.training.run import TrainingRun
from espnet_hybridse.training.task import HybridEnhancementTask

CONF = Path(__file__).parents[2] / "conf" / "mini"
VOCABULARY = 32


def write_config(path, **changes):
    """The mini preset of Dis. with a tiny network and short epochs."""
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


def make_noise_data(root, num=8, rates=(8000, 16000), seconds=1.5):
    """What all three branches train on, made of noise; returns the folder of the set.

    Leaves `dump/raw/train`, `dump/tokens/train`, `dump/branches/{disc,gen}/train` and `wavlm`, a
    tiny random speech encoder.
    """
    from transformers import WavLMConfig, WavLMModel

    folders = {"raw": root / "dump/raw/train", "tokens": root / "dump/tokens/train"}
    folders |= {name: root / f"dump/branches/{name}/train" for name in ("disc", "gen")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = ("wav.scp", "spk1.scp", "utt2fs", "speech_length.scp")
    lists = {folders["raw"] / name: [] for name in names}
    lists |= {folders[name] / "spk1.scp": [] for name in ("disc", "gen")}
    tokens = lists[folders["tokens"] / "text_int"] = []
    for number in range(num):
        fs, uid = rates[number % len(rates)], f"utt{number:02d}"
        samples = int(seconds * fs)
        clean = 0.05 * rng.standard_normal(samples)
        waves = {folders["raw"] / "spk1.scp": clean}
        for place in (folders["raw"] / "wav.scp", folders["disc"] / "spk1.scp"):
            waves[place] = clean + 0.02 * rng.standard_normal(samples)
        waves[folders["gen"] / "spk1.scp"] = 0.7 * clean
        for place, wave in waves.items():
            path = place.parent / f"{place.stem}_{uid}.wav"
            soundfile.write(path, wave.astype(np.float32), fs)
            lists[place].append(f"{uid} {path}")
        lists[folders["raw"] / "utt2fs"].append(f"{uid} {fs}")
        lists[folders["raw"] / "speech_length.scp"].append(f"{uid} {samples}")
        frames = -(-samples * 50 // fs)
        tokens.append(f"{uid} {' '.join(map(str, rng.integers(0, VOCABULARY, frames)))}")
    for path, lines in lists.items():
        path.write_text("\n".join(lines) + "\n")
    manifest = {"backend": "kmeans", "id": "noise", "sha256": "0", "rate": 50}
    write_manifest(folders["tokens"], {**manifest, "vocab_size": VOCABULARY})
    torch.manual_seed(0)
    WavLMModel(WavLMConfig(**SPEECH_TRANSFORMER)).save_pretrained(root / "wavlm")
    return folders["raw"]


def noise_run(root, branch, folder, **changes):
    """A tiny training of one branch on :func:`make_noise_data`; `changes` of its configuration."""
    name = {"hybrid": "fusion"}.get(branch, branch)
    config = yaml.safe_load((CONF / f"train_{name}.yaml").read_text())
    conf = config["separator_conf"]
    conf.update({"disc": DISC, "gen": GEN, "hybrid": FUSION}[branch])
    if branch == "gen":
        conf.update(semantic="wavlm", semantic_conf={"model": str(root / "wavlm")})
        conf.update(vocab_size=VOCABULARY, free_running_prob=0.0)
    else:
        conf["amp_dtype"] = None
    # One loops over utterances, one needs weights.
    config["criterions"] = [c for c in config["criterions"] if c["name"] not in ("estoi", "sqa")]
    config.update(max_epoch=1, num_iters_per_epoch=4, num_workers=0, batch_size=4, log_interval=1)
    config.update({"preprocessor_conf": {"chunk_s": 0.5}, "anneal": "cosine", **changes})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.yaml").write_text(yaml.safe_dump(config))
    raw = root / "dump/raw/train"
    run = TrainingRun(branch, folder / "train.yaml", folder, raw, raw)
    return replace(run, tokens=root / "dump/tokens", branches=root / "dump/branches")


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
