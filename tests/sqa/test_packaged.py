"""The quality networks that need no download, and what keeps them from being fooled."""

import logging

import numpy as np
import pytest
import torch
from helpers.golden_metrics import pair

from espnet_hybridse.fileio.assets import AssetMissing, dnsmos_model
from espnet_hybridse.scoring.metrics.dnsmos import CALIBRATION
from espnet_hybridse.sqa.dnsmos import DnsmosP835
from espnet_hybridse.sqa.dnsmos_pro import DnsmosPro, weights
from espnet_hybridse.sqa.guards import GradientShare, disturb, low_pass
from espnet_hybridse.sqa.loss import SQALoss
from espnet_hybridse.training.task import HybridEnhancementTask


@pytest.fixture(scope="module")
def p835():
    pytest.importorskip("onnx", reason="extra 'scoring' is not installed")
    try:
        return DnsmosP835(dnsmos_model()).requires_grad_(False).eval()
    except AssetMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def clips():
    """Noisy and clean speech of one second, (1, 16000) each."""
    noisy, clean, _ = pair("numbers")
    return [torch.tensor(wav[8000:24000])[None] for wav in (noisy, clean)]


@pytest.fixture
def loss(p835):
    return SQALoss(checkpoint="dnsmos")


@pytest.mark.slow
def test_dnsmos_is_the_onnx_network_and_any_length_has_a_gradient(p835, clips):
    onnxruntime = pytest.importorskip("onnxruntime", reason="extra 'scoring' is not installed")
    wav = np.resize(pair("numbers")[0], 144160)[None]
    theirs = onnxruntime.InferenceSession(str(dnsmos_model())).run(None, {"input_1": wav})[0]
    np.testing.assert_allclose(p835.raw(torch.tensor(wav)), theirs, atol=1e-5)
    for length in (100, 5000):
        wav = clips[0][:, :length].clone().requires_grad_()
        scores = p835(wav)
        scores.sum().backward()
        assert scores.shape == (1, 3) and wav.grad.isfinite().all() and wav.grad.abs().max() > 0
        raw = p835.raw(torch.nn.functional.pad(wav, (0, max(0, 1440 - length))))[0].tolist()
        for column, score, value in zip(p835.columns, scores[0].tolist(), raw, strict=True):
            assert score == pytest.approx(CALIBRATION[column.split()[1]](value), abs=1e-4)


def test_dnsmos_pro_is_the_published_recipe(clips):
    """The authors' own front end (librosa) and layers, one after the other."""
    librosa = pytest.importorskip("librosa", reason="extra 'scoring' is not installed")
    state = torch.load(weights(), weights_only=True)
    network = DnsmosPro(weights()).eval()
    for wav in clips:
        spectrum = librosa.stft(y=wav[0].numpy(), n_fft=320, hop_length=160, win_length=320).T
        x = torch.tensor(np.log10(np.clip(np.abs(spectrum), 1e-7, 1e7)))[None, None].float()
        for index in range(4):
            conv, norm = (f"_encoder.encoder.{index}.{part}." for part in (0, 1))
            x = torch.conv2d(x, state[conv + "weight"], state[conv + "bias"], padding=1)
            names = ("running_mean", "running_var", "weight", "bias")
            x = torch.nn.functional.batch_norm(x, *(state[norm + name] for name in names)).relu()
            x = torch.nn.functional.max_pool2d(x, 3) if index == 1 else x
        x = x.amax((2, 3))
        for index in range(3):
            name = f"_head.head.{index}.0."
            x = torch.nn.functional.linear(x, state[name + "weight"], state[name + "bias"])
            x = x.relu() if index < 2 else x
        with torch.no_grad():
            torch.testing.assert_close(network(wav), 2 * x[:, :1] + 3, atol=1e-4, rtol=1e-4)


def test_both_networks_hear_noise_and_it_costs(loss, clips):
    noisy, clean = clips
    worse, better = (loss.scores(wav, torch.tensor([16000]))[0] for wav in clips)
    assert (better > worse).all()
    assert loss(clean, clean).tolist() == [0.0]
    assert 0.05 < loss(clean, noisy).item() < 1


def test_nothing_is_won_beyond_the_clean_reference(loss, clips):
    noisy, clean = clips
    assert loss(noisy, clean).tolist() == [0.0]


def test_validation_hears_what_is_there_and_training_what_is_disturbed_alike(loss, clips):
    noisy, clean = clips
    assert loss(clean, noisy).item() == loss(clean, noisy).item()
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(loss(clean, noisy.clone().requires_grad_()).item())
    assert values[0] == values[1] != values[2]
    torch.manual_seed(0)
    assert loss(clean, clean.clone().requires_grad_()).item() == 0


def test_padding_does_not_change_the_loss(loss, clips):
    noisy, clean = clips
    loss.set_batch(16000, torch.tensor([16000, 9000]))
    together = loss(clean.repeat(2, 1), noisy.repeat(2, 1))
    loss.set_batch(16000)
    torch.testing.assert_close(together[1:], loss(clean[:, :9000], noisy[:, :9000]))


def test_disturbance_is_of_the_stated_size():
    torch.manual_seed(0)
    wav = torch.randn(2, 16000)
    out = disturb(torch.cat([wav, wav]), 2, 16000)
    assert 16000 - 160 <= out.shape[1] < 16000
    torch.testing.assert_close(out[:2], out[2:], atol=1e-5, rtol=0)
    gain = out[:2].std(1) / wav.std(1)
    assert (gain > 10 ** (-6 / 20) / 2**0.5 - 0.02).all() and (gain < 10 ** (6 / 20)).all()
    part = disturb(torch.cat([wav, wav]), 2, 4000)
    assert part.shape == (4, 4000)
    response = torch.fft.rfft(low_pass(torch.tensor([[4000.0], [8000.0]])), 1600).abs()
    assert response[0, :350].min() > 0.95 and response[0, 450:].max() < 0.05
    assert response[1, :750].min() > 0.95


def signal_term(wav):
    return wav.square().mean(1).sum()


@pytest.mark.parametrize("weight", [1e-5, 1.0, 1e4])
def test_gradient_is_at_most_a_tenth_of_the_other_terms_for_each_utterance(weight):
    torch.manual_seed(0)
    source = torch.randn(3, 400, requires_grad=True)
    pull, share = torch.randn(3, 400), GradientShare(0.1)

    def gradient(*terms):
        source.grad = None
        wav = 1.0 * source  # what a network gives: no leaf
        sum(term(wav) for term in terms).backward()
        return source.grad

    def quality(wav):
        return weight * (share(wav) * pull).sum()

    signal = gradient(signal_term)
    added = gradient(quality, signal_term) - signal
    norms = added.norm(dim=1) / signal.norm(dim=1)
    assert (norms <= 0.1001).all()
    cosine = torch.cosine_similarity(added, pull, dim=1)
    torch.testing.assert_close(cosine, torch.ones(3), atol=1e-3, rtol=0)
    if weight < 1e-3:  # far below the bound: left as it is
        torch.testing.assert_close(added, weight * pull, atol=1e-7, rtol=1e-3)
    else:
        torch.testing.assert_close(norms, torch.full((3,), 0.1), atol=1e-3, rtol=0)


def test_term_that_is_alone_gets_no_gradient_and_says_so(caplog):
    wav, share = torch.randn(1, 100, requires_grad=True), GradientShare(0.1)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            share(wav).sum().backward()
    assert not wav.grad.any()
    assert sum("only term that reaches the waveform" in r.message for r in caplog.records) == 1


@pytest.mark.slow
def test_steps_along_the_gradient_fool_the_bare_networks_and_not_the_guarded_ones(p835, clips):
    noisy, clean = (wav[:, :8000] for wav in clips)

    def signal(wav):
        return (wav - clean).abs().sum()

    def score_after_steps(term):
        torch.manual_seed(0)
        wav = noisy.clone()
        for _ in range(6):
            wav.requires_grad_()
            term(wav).backward()
            step = 0.05 * noisy.norm() * wav.grad / wav.grad.norm()
            wav = (wav - step).detach()
        return p835(wav)[0, 2].item()

    bare = SQALoss(checkpoint="dnsmos", guarded=False)
    guarded = SQALoss(checkpoint="dnsmos")
    honest = score_after_steps(signal)
    fooled = score_after_steps(lambda wav: signal(wav) + 1e6 * bare(clean, wav).sum())
    assert fooled > honest + 0.5
    kept = score_after_steps(lambda wav: signal(wav) + 1e6 * guarded(clean, wav).sum())
    assert kept < honest + 0.2


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="max_share=0 must be above 0"):
        SQALoss(max_share=0)
    with pytest.raises(ValueError, match="dnsmos has one size; leave out network"):
        SQALoss(checkpoint="dnsmos", network={"dim": 8})
    assert not SQALoss(checkpoint="none").enabled


def test_fusion_trains_with_it_beside_its_signal_terms(p835, clips):
    noisy, clean = clips
    batch = {"speech_mix": noisy, "speech_disc": 0.5 * (noisy + clean), "speech_gen": 0.9 * clean}
    batch.update(speech_ref1=clean, utt2fs=torch.tensor([[16000]]))
    terms = [
        {"name": name, "conf": {}, "wrapper": "fixed_order", "wrapper_conf": {"weight": 1.0}}
        for name in ("mr_stft", "sqa")
    ]
    gradients, sqa = {}, {}
    for checkpoint in ("none", "dnsmos"):
        options = ["--sqa_checkpoint", checkpoint]
        args = HybridEnhancementTask.get_parser().parse_args(options)
        args.encoder = args.decoder = "stft"
        stft = {"n_fft": 960, "hop_length": 480, "default_fs": 48000}
        args.encoder_conf = args.decoder_conf = stft
        args.separator = "uses_fusion"
        args.separator_conf = {"channels": 8, "n_blocks": 1, "hidden": 8, "n_memory": 2}
        args.criterions = terms
        torch.manual_seed(0)
        model = HybridEnhancementTask.build_model(args)
        loss, stats, _ = model(**batch)
        loss.backward()
        weights = [p.grad.flatten() for p in model.separator.parameters() if p.grad is not None]
        gradients[checkpoint], sqa[checkpoint] = torch.cat(weights), float(stats["sqa"])
    assert sqa["none"] == 0 and 0 < sqa["dnsmos"] < 1
    added = (gradients["dnsmos"] - gradients["none"]).norm() / gradients["none"].norm()
    assert 0.001 < added < 0.5
