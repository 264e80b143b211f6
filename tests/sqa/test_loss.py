"""The SQA loss: a rebuilt quality network through which the gradient reaches the waveform."""

import logging

import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from espnet_hybridse.sqa.backends import MODEL_ID
from espnet_hybridse.sqa.loss import SQALoss
from espnet_hybridse.sqa.network import HEADS, UniVersaExt, normalise
from espnet_hybridse.training.task import HybridEnhancementTask

TINY = {
    "wavlm": {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "conv_dim": (4, 4),
        "conv_kernel": (10, 8),
        "conv_stride": (5, 8),
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "num_buckets": 8,
        "max_bucket_distance": 16,
    },
    "dim": 8,
    "layers": 1,
    "num_heads": 2,
    "feedforward": 16,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = UniVersaExt(**TINY)
    # Spread the scores: random heads would all sit near 3.
    torch.nn.init.normal_(network.metric_proj.weight, std=1.0)
    path = tmp_path_factory.mktemp("sqa") / "model.pt"
    torch.save({"model": network.state_dict()}, path)
    return path


@pytest.fixture
def loss(checkpoint):
    return SQALoss(checkpoint=str(checkpoint), network=TINY)


def test_loss_is_mean_over_heads_of_five_minus_score_over_four(loss):
    inf = torch.randn(2, 3000)
    scores = loss.scores(inf, torch.tensor([3000, 3000]))
    assert scores.shape == (2, len(HEADS))
    assert ((scores > 1) & (scores < 5)).all()
    torch.testing.assert_close(loss(torch.zeros_like(inf), inf), ((5 - scores) / 4).mean(1))


@pytest.mark.parametrize("given", [True, False])
def test_training_option_gives_the_checkpoint(tmp_path, given):
    torch.save({"model": UniVersaExt(**TINY).state_dict(), "network": TINY}, tmp_path / "model.pt")
    options = ["--sqa_checkpoint", str(tmp_path)] if given else []
    args = HybridEnhancementTask.get_parser().parse_args(options)
    args.encoder = args.decoder = "stft"
    args.separator, args.separator_conf = "uses_fusion", {"channels": 8, "n_blocks": 1}
    term = {"name": "sqa", "conf": {"checkpoint": None}, "wrapper": "fixed_order"}
    args.criterions = [{**term, "wrapper_conf": {"weight": 1.0}}]
    model = HybridEnhancementTask.build_model(args)
    assert model.loss_wrappers[0].criterion.enabled == given


def test_autocast_changes_nothing(loss):
    loss.set_batch(8000)
    inf = torch.randn(2, 3000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(inf, inf)
    torch.testing.assert_close(value, loss(inf, inf), atol=0, rtol=0)


def test_folder_that_is_missing_is_not_looked_for_on_a_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    with pytest.raises(FileNotFoundError, match="'exp/sqa': no such file"):
        SQALoss(checkpoint="exp/sqa")


@pytest.mark.parametrize("fs", [8000, 16000, 44100])
def test_gradient_reaches_the_waveform_and_equals_finite_differences(loss, fs):
    loss._networks[0].double()
    loss.set_batch(fs)
    torch.manual_seed(1)
    ref = torch.zeros(1, fs * 30 // 1000, dtype=torch.float64)
    inf = torch.randn_like(ref) * 0.1
    direction = torch.randn_like(ref)

    # Along one direction: the full Jacobian would need a forward per sample.
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: loss(ref, inf + s * direction), (step,))

    inf.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(ref, inf).sum(), inf)
    assert gradient.abs().max() > 0


def test_gradient_of_every_sample_equals_finite_differences(loss):
    loss._networks[0].double()
    loss.set_batch(8000)
    torch.manual_seed(2)
    inf = (torch.randn(1, 60, dtype=torch.float64) * 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(torch.zeros_like(x), x), (inf,))


def test_network_is_frozen_and_stays_out_of_model_and_checkpoint(loss):
    model = torch.nn.ModuleList([loss]).train()
    assert not list(model.parameters())
    assert not model.state_dict()
    network = loss._networks[0]
    assert not any(module.training for module in network.modules())
    inf = torch.randn(1, 2000, requires_grad=True)
    loss(torch.zeros_like(inf), inf).sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_padding_and_batch_do_not_change_the_loss(loss):
    torch.manual_seed(3)
    inf = torch.randn(3, 4000)
    ilens = torch.tensor([4000, 2500, 4000])
    loss.set_batch(22050, ilens)
    together = loss(torch.zeros_like(inf), inf)
    for row, length in enumerate(ilens.tolist()):
        loss.set_batch(22050)
        alone = inf[row : row + 1, :length]
        torch.testing.assert_close(together[row : row + 1], loss(torch.zeros_like(alone), alone))


def test_normalisation_equals_the_published_feature_extractor():
    wav = torch.randn(2, 1000) * 0.01 + 0.3
    published = Wav2Vec2FeatureExtractor(do_normalize=True)(
        [row.numpy() for row in wav], sampling_rate=16000, return_tensors="pt"
    )["input_values"]
    torch.testing.assert_close(normalise(wav), published, rtol=1e-4, atol=1e-4)


def test_every_nth_step_has_the_same_mean(checkpoint):
    sparse = SQALoss(checkpoint=str(checkpoint), network=TINY, every=3)
    full = SQALoss(checkpoint=str(checkpoint), network=TINY)
    inf = torch.randn(1, 2000, requires_grad=True)
    values = [sparse(inf, inf).item() for _ in range(6)]
    assert values[0] == values[1] == values[3] == values[4] == 0
    assert sum(values) / 6 == pytest.approx(full(inf, inf).item())
    with torch.no_grad():
        assert sparse(inf, inf.detach()).item() == pytest.approx(full(inf, inf).item())
    with pytest.raises(ValueError, match="every=0 must be at least 1"):
        SQALoss(every=0)


def test_silence_has_a_finite_gradient(loss):
    inf = torch.zeros(1, 2000, requires_grad=True)
    loss(torch.zeros(1, 2000), inf).sum().backward()
    assert inf.grad.isfinite().all()


def test_published_names_are_the_names_of_the_default_network():
    with torch.device("meta"):
        names = UniVersaExt().state_dict()
    for name in (
        "feature_extractor.weights",
        "feature_extractor.model.encoder.layers.11.attention.q_proj.weight",
        "feat_proj.0.weight",
        "feat_proj.1.bias",
        "encoder.layers.5.self_attn.in_proj_weight",
        "metric_proj.weight",
        "metric2act.nisqa_mos.max_value",
    ):
        assert name in names
    assert names["feature_extractor.weights"].shape == (13,)


def test_weight_norm_names_of_older_torch_are_accepted(checkpoint):
    state = torch.load(checkpoint, weights_only=True)["model"]
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in state.items()
    }
    assert renamed.keys() != state.keys()
    UniVersaExt(**TINY).load_weights(renamed, "old.pt")


def test_missing_and_unknown_keys_are_named(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)["model"]
    state["metric_proj.wait"] = state.pop("metric_proj.weight")
    torch.save({"model": state}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="missing keys: metric_proj.weight.*metric_proj.wait"):
        SQALoss(checkpoint=str(tmp_path), network=TINY)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "model.pt").write_text("not found")
    with pytest.raises(ValueError, match="not a readable weights file"):
        SQALoss(checkpoint=str(tmp_path / "model.pt"), network=TINY)
    torch.save({"state_dict": {}}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="key 'model'.*state_dict"):
        SQALoss(checkpoint=str(tmp_path), network=TINY)


def test_a_missing_checkpoint_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"hf download {MODEL_ID}"):
        SQALoss(checkpoint=str(tmp_path / "nowhere.pt"))


def test_without_a_checkpoint_the_loss_is_off_and_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        loss = SQALoss()
    inf = torch.randn(2, 100, requires_grad=True)
    value = loss(torch.zeros(2, 100), inf)
    value = value + loss(torch.zeros(2, 100), inf)
    assert sum("the SQA loss is off" in record.message for record in caplog.records) == 1
    assert not loss.enabled
    assert value.tolist() == [0.0, 0.0]
    value.sum().backward()
    assert (inf.grad == 0).all()
