"""TF-GridNet-SFI against ESPnet's TFGridNetV3, and what upstream does not promise."""

import pytest
import torch
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3

from espnet_hybridse.discriminative import TFGridNetSFI

SIZES = {"n_srcs": 1, "n_layers": 2, "lstm_hidden_units": 12, "emb_dim": 16}


def spectrum(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.manual_seed(seed))


def build_pair(emb_ks, emb_hs, **changes):
    torch.manual_seed(0)
    sizes = {**SIZES, **changes}
    upstream = TFGridNetV3(None, emb_ks=emb_ks, emb_hs=emb_hs, **sizes)
    for parameter in upstream.parameters():  # norms start at one: move them
        parameter.data += 0.1 * torch.randn_like(parameter)
    ours = TFGridNetSFI(None, emb_ks=emb_ks, emb_hs=emb_hs, **sizes)
    ours.load_state_dict(upstream.state_dict())
    return upstream, ours


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("emb_ks, emb_hs", [(4, 1), (1, 1), (4, 4), (3, 2)])
@pytest.mark.parametrize("frames, bins", [(31, 41), (16, 81)])
def test_equals_espnet_with_its_weights(emb_ks, emb_hs, frames, bins, lean, monkeypatch):
    if lean:  # these sizes are too small for it
        monkeypatch.setattr("espnet_hybridse.discriminative.window_blstm.LEAN_FROM", 1)
    upstream, ours = build_pair(emb_ks, emb_hs)
    noisy, ilens = spectrum(2, frames, bins), torch.tensor([frames, frames])
    theirs, mine = (model(noisy, ilens)[0][0] for model in (upstream, ours))
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    for output in (theirs, mine):
        output.abs().square().mean().backward()
    for (name, p), q in zip(upstream.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_srcs": 2},
        {"emb_dim": 12, "attn_n_head": 2, "attn_qk_output_channel": 3},
        {"n_layers": 1, "lstm_hidden_units": 40, "emb_dim": 32},
    ],
)
def test_equals_espnet_at_other_sizes_and_in_the_gradient_of_its_input(changes):
    upstream, ours = build_pair(4, 1, **changes)
    inputs = [spectrum(1, 20, 41).requires_grad_() for _ in range(2)]
    outputs = [
        torch.stack(model(x, torch.tensor([20]))[0])
        for model, x in zip((upstream, ours), inputs, strict=True)
    ]
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-4, rtol=1e-4)
    for output in outputs:
        output.abs().square().mean().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("emb_ks, emb_hs", [(4, 1), (1, 1), (4, 4)])
@pytest.mark.parametrize("options", [{}, {"output": "residual", "rms_norm": True}])
def test_padding_does_not_change_valid_frames(options, emb_ks, emb_hs):
    model = TFGridNetSFI(None, emb_ks=emb_ks, emb_hs=emb_hs, **SIZES, **options).eval()
    with torch.no_grad():
        model.deconv.weight.normal_()
        noisy, ilens = spectrum(3, 30, 41), torch.tensor([30, 17, 30])
        batch = model(noisy, ilens)[0][0]
        alone = model(noisy[1:2, :17], ilens[1:2])[0][0]
    torch.testing.assert_close(batch[1:2, :17], alone, atol=1e-5, rtol=1e-4)
    assert batch[1, 17:].abs().max() == 0


@pytest.mark.parametrize("bins", [81, 161, 221, 241, 321, 441, 481])
def test_one_set_of_weights_serves_every_rate(bins):
    model = TFGridNetSFI(None, output="residual", freq_stride=4, emb_ks=2, emb_hs=2, **SIZES)
    noisy = spectrum(1, 12, bins)
    assert model(noisy, torch.tensor([12]))[0][0].shape == noisy.shape


def test_residual_output_starts_from_the_input():
    model = TFGridNetSFI(None, output="residual", compression=0.5, rms_norm=True, **SIZES)
    noisy = spectrum(1, 12, 41)
    torch.testing.assert_close(model(noisy, torch.tensor([12]))[0][0], noisy, atol=1e-3, rtol=1e-3)


def test_level_does_not_matter_with_rms_norm():
    model = TFGridNetSFI(None, rms_norm=True, compression=0.5, **SIZES).eval()
    noisy, ilens = spectrum(1, 12, 41), torch.tensor([12])
    quiet = model(noisy * 1e-3, ilens)[0][0]
    torch.testing.assert_close(quiet * 1e3, model(noisy, ilens)[0][0], atol=1e-3, rtol=1e-3)


def test_checkpointing_changes_memory_only():
    outputs = []
    for activation_checkpointing in (False, True):
        torch.manual_seed(0)
        model = TFGridNetSFI(None, activation_checkpointing=activation_checkpointing, **SIZES)
        out = model(spectrum(1, 12, 41), torch.tensor([12]))[0][0]
        out.abs().mean().backward()
        outputs.append(model.conv[0].weight.grad)
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"output": "mask"}, "output='mask' is not one of mapping, residual"),
        ({"compression": 0.0}, r"compression=0.0 must lie in \(0, 1\]"),
        ({"n_imics": 2}, "n_imics=2"),
        ({"emb_dim": 15}, "emb_dim=15 is not a multiple of attn_n_head=4"),
        ({"emb_ks": 2, "emb_hs": 3}, "emb_hs=3 must lie in 1..emb_ks=2"),
    ],
)
def test_wrong_options_say_what_is_accepted(options, words):
    with pytest.raises(ValueError, match=words):
        TFGridNetSFI(None, **{**SIZES, **options})
