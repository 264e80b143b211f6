"""A training step never reads a value from the device: on a GPU, each reading waits for all of it.

Tensors on PyTorch's "meta" device have no values, so whatever reads one raises; lengths and rates
come from the CPU, as they do in training.
"""

import argparse
from pathlib import Path

import pytest
import torch
import yaml
from helpers.tiny_models import DISC, FUSION, GEN

from espnet_hybridse.nn.precision import as_autocast, in_float32, run_lstm
from espnet_hybridse.nn.spectrum import overlapped
from espnet_hybridse.training.ema import WeightAverage
from espnet_hybridse.training.step_values import StepValues
from espnet_hybridse.training.steps import on_device
from espnet_hybridse.training.task import HybridEnhancementTask

CONF = Path(__file__).parents[2] / "conf"
FS = 16000


def build(preset, branch, **separator_conf):
    config = yaml.safe_load((CONF / preset / f"train_{branch}.yaml").read_text())
    config["separator_conf"].update(separator_conf)
    # Neither is for a GPU's training: one loops over utterances, one needs weights.
    config["criterions"] = [c for c in config["criterions"] if c["name"] not in ("estoi", "sqa")]
    options = {"model_conf": {}, "init": None, "preprocessor": None, "preprocessor_conf": {}}
    options |= {"sqa_checkpoint": None, "output_dir": None}
    return HybridEnhancementTask.build_model(argparse.Namespace(**{**config, **options}))


@pytest.fixture(params=["disc", "paper_disc", "gen", "gen_free", "fusion"])
def case(request, wavlm_dir):
    """A model and what its batch holds besides speech."""
    frames = FS // 320
    tokens = torch.zeros(2, frames, dtype=torch.long), torch.tensor([frames, frames])
    gen = {**GEN, "semantic": "wavlm", "semantic_conf": {"model": wavlm_dir, "layer": "mean"}}
    gen["vocab_size"] = 32
    if request.param.startswith("gen"):
        free = float(request.param == "gen_free")
        model = build("paper", "gen", **gen, free_running_prob=free, state_noise=0.1)
        return model, {"tokens": tokens[0], "tokens_lengths": tokens[1]}
    if request.param == "fusion":
        dumped = {f"speech_{name}": torch.zeros(2, FS) for name in ("disc", "gen")}
        return build("mini", "fusion", **FUSION, amp_dtype=None), dumped
    preset = "paper" if request.param.startswith("paper") else "mini"
    return build(preset, "disc", **DISC, amp_dtype=None), {}


@pytest.mark.slow
def test_a_step_reads_nothing_from_the_device(case):
    model, extra = case
    meta = torch.device("meta")
    model.to(meta).train()
    average = WeightAverage(model, share=0.05)
    average.start()
    speech = {"speech_mix": torch.zeros(2, FS), "speech_ref1": torch.zeros(2, FS)}
    lengths = {"speech_mix_lengths": torch.tensor([FS, FS]), "utt2fs": torch.tensor([[FS], [FS]])}
    batch = on_device({**speech, **lengths, **extra}, meta)
    assert batch["speech_mix"].is_meta and batch["utt2fs"] == [FS, FS]
    loss, stats, weight = model(**batch)
    loss.sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert any(p.grad is not None for p in trained)
    norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
    torch.optim.AdamW(trained, foreach=True).step()
    average.update()
    values = StepValues(None, every=2)
    assert not values.add(stats, float(weight), {"grad_norm": norm})
    with pytest.raises((RuntimeError, NotImplementedError)):
        loss.item()


@pytest.mark.parametrize("fs, win_ms", [(8000, 20), (22050, 20), (48000, 40)])
@pytest.mark.parametrize("extra", [-7, 0])
def test_the_inverse_without_a_look_is_torch_s(fs, win_ms, extra):
    size, wav = win_ms * fs // 1000, torch.randn(2, fs // 2)
    window, length = torch.hann_window(size), fs // 2 // size * size + extra
    spectrum = torch.stft(wav, size, size // 2, size, window, return_complex=True)
    theirs = torch.istft(spectrum, size, size // 2, size, window, length=length)
    assert torch.equal(overlapped(spectrum.transpose(1, 2), size // 2, window, length), theirs)
    longer = overlapped(spectrum.transpose(1, 2), size // 2, window, length + 3 * size)
    torch.testing.assert_close(longer[:, : length - size], theirs[:, : length - size])
    assert longer.shape[1] == length + 3 * size and not longer[:, -size:].any()


class FakeGPU(torch.Tensor):
    """A CPU tensor that says it is on a GPU, to see what is asked of an LSTM there."""

    device = torch.device("cuda")

    def float(self):
        return self.to(torch.float32)


def test_autocast_never_chooses_an_lstm_s_type_on_a_gpu(monkeypatch):
    """torch's autocast gives every cuDNN LSTM float16, whatever it was asked for."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
    seen = []
    within = []
    monkeypatch.setattr(
        "espnet_hybridse.nn.precision.torch.autocast",
        lambda kind, enabled: (
            within.append((kind, enabled)) or torch.autograd.set_detect_anomaly(False)
        ),
    )

    def lstm(x):
        seen.append(x.dtype)
        return x, None

    x = torch.randn(3, 2, 4).bfloat16().as_subclass(FakeGPU)
    assert run_lstm(lstm, x).dtype is torch.float32
    assert seen == [torch.float32] and within == [("cuda", False)]
    assert as_autocast(x).dtype is torch.float32
    assert as_autocast(torch.randn(2)).dtype is torch.float32


def test_last_layers_run_in_float32_under_autocast():
    x = torch.randn(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.nn.Linear(4, 4)(x).dtype is torch.bfloat16
        with in_float32(x):
            assert torch.nn.Linear(4, 4)(x).dtype is torch.float32


@pytest.mark.parametrize("layer", ["disc", "fusion", "gen"])
def test_spectra_and_masks_are_made_in_float32(layer, wavlm_dir):
    """The last layer of every network sees float32 though all before it ran in bfloat16."""
    if layer == "disc":
        model = build("mini", "disc", **DISC, amp_dtype="bfloat16")
        last, extra = model.separator.deconv, {}
    elif layer == "fusion":
        model = build("mini", "fusion", **FUSION, amp_dtype="bfloat16")
        last = model.separator.decoder
        extra = {f"speech_{name}": torch.randn(1, FS // 5) for name in ("disc", "gen")}
    else:
        conf = {"model": wavlm_dir, "layer": "mean"}
        model = build("paper", "gen", **GEN, semantic="wavlm", semantic_conf=conf, vocab_size=32)
        last = model.separator.refiner.decoder[-1].conv
        tokens = torch.zeros(1, 10, dtype=torch.long)
        extra = {"tokens": tokens, "tokens_lengths": torch.tensor([10])}
    seen = []
    last.register_forward_hook(lambda module, args, out: seen.append((args[0].dtype, out.dtype)))
    wav = torch.randn(1, FS // 5)
    ambient = torch.autocast("cpu", dtype=torch.bfloat16, enabled=layer == "gen")
    with ambient:
        model.train()(speech_mix=wav, speech_ref1=wav, utt2fs=[FS], **extra)
    assert seen == [(torch.float32, torch.float32)]
