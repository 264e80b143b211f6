"""The generative branch: semantic features, refiner and the whole separator."""

import pytest
import torch
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch.nn.utils.rnn import pad_sequence

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.generative.ar_refiner import ARRefiner
from espnet_hybridse.generative.banded_refiner import BandedRefiner
from espnet_hybridse.generative.refiner import Refiner
from espnet_hybridse.losses.token_nll import TokenNLL

SMALL = {
    "vocab_size": 20,
    "lm_layers": 2,
    "lm_dim": 32,
    "lm_heads": 2,
    "lm_ffn": 64,
    "lm_dropout": 0.0,
    "channels": 8,
    "downs": 2,
    "blocks": 1,
    "hidden": 8,
    "heads": 2,
}


@pytest.fixture
def make(wavlm_dir):
    def build(**options):
        torch.manual_seed(0)
        conf = {"model": wavlm_dir, **options.pop("semantic_conf", {})}
        return ARRefiner(1, semantic="wavlm", semantic_conf=conf, **{**SMALL, **options})

    return build


def spectrum(wav, fs):
    n_fft = fs // 25
    window = torch.hann_window(n_fft)
    return torch.stft(wav, n_fft, n_fft // 2, window=window, return_complex=True).transpose(1, 2)


def noise(batch, seconds, fs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.05 * torch.randn(batch, int(seconds * fs), generator=generator)


def shaken(model):
    """The same model away from its identity start, so that every part moves the output."""
    with torch.no_grad():
        last_layer(model.refiner).weight.mul_(20)
    return model


def last_layer(refiner):
    return refiner.head if isinstance(refiner, BandedRefiner) else refiner.decoder[-1].conv


def tilt(x, low, high, fs):
    """Mean power in dB of (T,) between two frequencies in Hz."""
    power = torch.fft.rfft(x).abs().square()
    hz = torch.fft.rfftfreq(x.numel(), 1 / fs)
    return 10 * power[(hz >= low) & (hz < high)].mean().log10().item()


# Separator


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("refiner_fs, bands", [(16000, False), ("native", False), ("native", True)])
def test_every_rate_keeps_its_shape(make, fs, refiner_fs, bands):
    model = make(refiner_fs=refiner_fs, bands=bands).eval()
    x = spectrum(noise(1, 0.5, fs), fs)
    with torch.no_grad():
        (y,), ilens, others = model(x, torch.tensor([x.size(1)]))
    assert y.shape == x.shape == (1, 26, fs // 50 + 1) and y.dtype == torch.complex64
    assert others["decoded_tokens"].shape == (1, 25)
    empty = y[..., 321:].abs().sum() == 0
    assert empty if refiner_fs == 16000 or fs <= 16000 else not empty


def test_other_rates_are_refused_with_the_known_ones(make):
    x = torch.randn(1, 10, 300, dtype=torch.complex64)
    with pytest.raises(ValueError, match="8000, 16000"):
        make()(x, torch.tensor([10]))


@pytest.mark.parametrize("fs", [8000, 16000, 44100])
@pytest.mark.parametrize("bands", [False, True])
def test_training_starts_near_identity(make, fs, bands):
    model = make(bands=bands, residual=bands).eval()
    x = spectrum(noise(1, 1.0, fs), fs)
    with torch.no_grad():
        (y,), _, _ = model(x, torch.tensor([x.size(1)]))
    kept = x[..., :321]
    assert (y[..., :321] - kept).abs().mean() < 0.3 * kept.abs().mean()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("with_tokens", [False, True])
@pytest.mark.parametrize("fs, bands", [(16000, False), (22050, False), (22050, True)])
def test_padding_does_not_change_valid_frames(make, bidirectional, with_tokens, fs, bands):
    model = shaken(make(bidirectional=bidirectional, bands=bands)).eval()
    parts = [spectrum(noise(1, s, fs, seed), fs)[0] for seed, s in enumerate((0.8, 0.5, 0.06))]
    ilens = torch.tensor([len(part) for part in parts])
    batch = pad_sequence([torch.view_as_real(p) for p in parts], True, padding_value=3.0)
    batch = torch.view_as_complex(batch)
    tokens = torch.randint(0, 20, (3, int(ilens.max()) - 1))

    def additional(rows, size):
        if not with_tokens:
            return None
        return {"tokens": tokens[rows, :size], "tokens_lengths": ilens[rows] - 1}

    with torch.no_grad():
        (together,), _, others = model(batch, ilens, additional(slice(None), tokens.size(1)))
        for row, part in enumerate(parts):
            rows = slice(row, row + 1)
            (alone,), _, single = model(part[None], ilens[rows], additional(rows, len(part) - 1))
            torch.testing.assert_close(together[row, : len(part)], alone[0], atol=1e-4, rtol=1e-4)
            name = "token_logits" if with_tokens else "decoded_tokens"
            torch.testing.assert_close(
                others[name][row, : len(part) - 1], single[name][0], atol=1e-4, rtol=1e-4
            )
    assert together[2, len(parts[2]) :].abs().sum() == 0


def test_output_follows_the_level_of_the_input(make):
    model = shaken(make()).eval()
    x = spectrum(noise(1, 0.5, 16000), 16000)
    ilens = torch.tensor([x.size(1)])
    with torch.no_grad():
        (loud,), _, _ = model(x, ilens)
        (soft,), _, _ = model(0.01 * x, ilens)
    torch.testing.assert_close(soft * 100, loud, atol=1e-3, rtol=1e-3)


def test_silence_stays_finite(make):
    x = torch.zeros(1, 20, 321, dtype=torch.complex64)
    (y,), _, _ = make(residual=True)(x, torch.tensor([20]))
    y.abs().sum().backward()
    assert y.isfinite().all()


def test_the_16k_view_of_a_48k_spectrum_is_the_16k_spectrum(make):
    """Cutting bins is resampling: a band-limited signal gives the same tokens at both rates."""
    t = torch.arange(48000) / 48000
    wav = sum(torch.sin(2 * torch.pi * f * t + f) for f in (220.0, 900.0, 2500.0))[None] * 0.02
    wav = wav * (1 + torch.sin(2 * torch.pi * 3 * t))
    model = make().eval()
    views = []
    for fs in (48000, 16000):
        x = spectrum(wav[:, :: 48000 // fs], fs)
        views.append(x[..., :321] * (16000 / fs))
    inner = slice(1, -1)  # the signal's mirror image at its two ends is not band-limited
    torch.testing.assert_close(views[0][:, inner], views[1][:, inner], atol=2e-3, rtol=0)
    with torch.no_grad():
        prefix = [model._prefix(view[:, inner], torch.tensor([48])) for view in views]
    torch.testing.assert_close(prefix[0], prefix[1], atol=1e-2, rtol=0)


def test_a_training_step_reaches_every_parameter_but_the_encoders(make):
    model = make(semantic_conf={"layer": "learned"}, state_noise=0.1, history_noise=0.1).train()
    x = spectrum(noise(2, 0.5, 16000), 16000)
    additional = {
        "tokens": torch.randint(0, 20, (2, 26)),
        "tokens_lengths": torch.tensor([26, 25]),
    }
    (y,), _, others = model(x, torch.tensor([26, 26]), additional)
    loss = TokenNLL()(others["token_logits"], others["tokens"], others["tokens_lengths"])
    (loss + y.abs().mean()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(p.grad is None for p in model.semantic.parameters())
    assert others["tokens"].shape == (2, 25) and 0 <= others["token_accuracy"] <= 1


@pytest.mark.slow
def test_learning_the_tokens_of_one_utterance(make):
    model = make().train()
    x = spectrum(noise(1, 0.5, 16000), 16000)
    additional = {"tokens": torch.arange(25)[None] % 20, "tokens_lengths": torch.tensor([25])}
    ilens = torch.tensor([26])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(80):
        _, _, others = model(x, ilens, additional)
        loss = TokenNLL()(others["token_logits"], others["tokens"], others["tokens_lengths"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert others["token_accuracy"] > 0.95
    with torch.no_grad():
        _, _, others = model.eval()(x, ilens, {**additional, "free_running": True})
    assert others["free_running_accuracy"] > 0.95


def test_validation_hears_its_input_once(make):
    """Gold history and own tokens from one pass of the encoder, each as it is alone."""
    model = make().eval()
    x = spectrum(noise(2, 0.4, 16000), 16000)
    ilens, tokens = torch.tensor([21, 15]), torch.randint(0, 20, (2, 20))
    given = {"tokens": tokens, "tokens_lengths": torch.tensor([20, 14])}
    calls = []
    model.semantic.encoder.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        [free], _, others = model(x, ilens, {**given, "free_running": True})
        heard = len(calls)
        _, _, gold = model(x, ilens, given)
        [alone], _, decoded = model(x, ilens, {})
    assert heard * 2 == len(calls) - heard, "as often as in each of the two that follow"
    torch.testing.assert_close(free, alone)
    torch.testing.assert_close(others["token_logits"], gold["token_logits"])
    assert torch.equal(others["decoded_tokens"], decoded["decoded_tokens"])
    assert others["token_accuracy"] == gold["token_accuracy"]
    hits = others["decoded_tokens"] == tokens
    right = hits[0].sum() + hits[1, :14].sum()
    assert float(others["free_running_accuracy"]) == pytest.approx(float(right) / 34)


def test_free_running_training_keeps_gold_targets(make):
    model = make(free_running_prob=1.0).train()
    x = spectrum(noise(1, 0.3, 16000), 16000)
    tokens = torch.randint(0, 20, (1, 15))
    _, _, others = model(x, torch.tensor([16]), {"tokens": tokens})
    assert torch.equal(others["tokens"], tokens)
    assert "decoded_tokens" in others and "free_running_accuracy" in others
    others["token_logits"].sum().backward()


def test_bfloat16_autocast_trains(make):
    model = make().train()
    x = spectrum(noise(1, 0.3, 16000), 16000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (y,), _, others = model(x, torch.tensor([16]), {"tokens": torch.zeros(1, 15).long()})
        lengths = others["tokens_lengths"]
        loss = TokenNLL()(others["token_logits"], others["tokens"], lengths) + y.abs().mean()
    loss.backward()
    assert y.dtype == torch.complex64 and loss.isfinite()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        (y,), _, _ = model.eval()(x, torch.tensor([16]))
    assert y.isfinite().all()


def test_frozen_encoder_is_not_in_the_checkpoint_and_stays_in_eval(make):
    model = make().train()
    names = [name for name in model.state_dict() if "semantic" in name]
    assert names == ["semantic_sha256"]
    frozen = {id(p) for p in model.semantic.parameters()}
    assert not frozen & {id(p) for p in model.parameters()}
    assert not any(module.training for module in model.semantic.modules())
    assert all(p.dtype == torch.float64 for p in model.double().semantic.parameters())


def test_checkpoint_round_trip(make):
    first, second = shaken(make()).eval(), make().eval()
    second.load_state_dict(first.state_dict(), strict=True)
    x = spectrum(noise(1, 0.4, 16000), 16000)
    ilens = torch.tensor([x.size(1)])
    with torch.no_grad():
        torch.testing.assert_close(first(x, ilens)[0][0], second(x, ilens)[0][0])


def test_weights_of_another_encoder_are_refused(make, wavlm_dir, tmp_path):
    from transformers import WavLMModel

    other = WavLMModel.from_pretrained(wavlm_dir)
    with torch.no_grad():
        other.feature_projection.projection.bias.add_(0.1)
    other.save_pretrained(tmp_path)
    state = make().state_dict()
    with pytest.raises(RuntimeError, match="trained with a speech encoder of sha256 [0-9a-f]{12}"):
        make(semantic_conf={"model": str(tmp_path)}).load_state_dict(state)
    averaged = {key: (value + value + value) / 3 for key, value in state.items()}
    make().load_state_dict(averaged)
    del state["semantic_sha256"]
    make().load_state_dict(state)


@pytest.mark.parametrize("bands", [False, True])
def test_a_grown_refiner_starts_where_the_smaller_one_stood(make, bands):
    small = shaken(make(bands=bands)).eval()
    grown = make(bands=bands, blocks=3, grown_from=1).eval()
    grown.load_state_dict({**grown.state_dict(), **small.state_dict()})
    x, ilens = spectrum(noise(1, 0.5, 16000), 16000), torch.tensor([26])
    with torch.no_grad():
        torch.testing.assert_close(grown(x, ilens)[0], small(x, ilens)[0], rtol=0, atol=1e-6)
    grown.train()(x, ilens)[0][0].abs().sum().backward()
    assert grown.refiner.blocks[2].cross.out.weight.grad.abs().sum() > 0


def test_without_tokens_the_refiner_reads_the_adapter(make):
    model = make(use_tokens=False)
    assert model.lm is None
    x = spectrum(noise(1, 0.4, 16000), 16000)
    (y,), _, others = model(x, torch.tensor([x.size(1)]))
    y.abs().sum().backward()
    assert not others and model.adapter.weight.grad.abs().sum() > 0


def test_stock_espnet_passes_fs_and_finds_yaml_defaults(make):
    from espnet2.utils.get_default_kwargs import get_default_kwargs

    assert isinstance(make(), TFGridNetV3) and make().num_spk == 1
    assert get_default_kwargs(ARRefiner)["lm_layers"] == 12


@pytest.mark.parametrize(
    "options, message",
    [
        ({"refiner_fs": 24000}, "refiner_fs=24000 is not 16000 or 'native'"),
        ({"free_running_prob": 2.0}, "free_running_prob=2.0"),
        ({"heads": 3}, "channels=8"),
        ({"grown_from": 4}, "grown_from=4: expected the number of blocks"),
        ({"mask_limit": 1.0}, "mask_limit=1.0"),
    ],
)
def test_options_outside_their_range_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_too_few_tokens_are_refused(make):
    x = spectrum(noise(1, 0.4, 16000), 16000)
    with pytest.raises(ValueError, match="has 10 tokens for 20 frames"):
        make()(x, torch.tensor([21]), {"tokens": torch.zeros(1, 10, dtype=torch.long)})


def test_the_feature_cache_is_found_again_in_another_batch_and_never_wrong(make, tmp_path):
    plain = make()
    kept = make(feature_cache=str(tmp_path))
    x = spectrum(noise(3, 0.4, 16000), 16000)
    ilens = torch.tensor([21, 21, 15])
    given = {"tokens": torch.zeros(3, 20, dtype=torch.long)}
    first = kept(x, ilens, given)[2]["token_logits"]
    torch.testing.assert_close(first, plain(x, ilens, given)[2]["token_logits"], atol=5e-3, rtol=0)
    assert len(list(tmp_path.rglob("*.npy"))) == 3
    rows = [1, 0]
    again = kept(x[rows], ilens[rows], {"tokens": given["tokens"][rows]})[2]["token_logits"]
    assert kept.feature_cache.hits == 2
    torch.testing.assert_close(again, first[rows], atol=1e-5, rtol=0)
    next(tmp_path.rglob("*.npy")).write_bytes(b"torn")
    torch.testing.assert_close(kept(x, ilens, given)[2]["token_logits"], first)
    kept.eval()(x + 0.01, ilens)
    assert len(list(tmp_path.rglob("*.npy"))) == 3, "inference keeps nothing"
    full = make(feature_cache=str(tmp_path / "full"), feature_cache_gb=0.0)
    full(x, ilens, given)
    assert not list((tmp_path / "full").rglob("*.npy"))


# Refiner


@pytest.mark.parametrize("kind", [Refiner, BandedRefiner])
def test_mask_is_bounded(kind):
    torch.manual_seed(0)
    refiner = kind(8, channels=8, downs=2, blocks=1, hidden=8, heads=2, mask_limit=2.0)
    with torch.no_grad():
        last_layer(refiner).weight.mul_(1e3)
    x = torch.randn(1, 10, 161, dtype=torch.complex64)
    y = refiner(x, torch.tensor([10]), torch.randn(1, 9, 8), torch.tensor([9]))
    assert (y.abs() <= 2.0 * x.abs() + 1e-5).all()


@pytest.mark.parametrize("kind", [Refiner, BandedRefiner])
def test_residual_fills_what_a_mask_cannot(kind):
    torch.manual_seed(0)
    silent = torch.zeros(1, 10, 161, dtype=torch.complex64)
    states = torch.randn(1, 9, 8), torch.tensor([9])
    for residual in (False, True):
        refiner = kind(8, channels=8, blocks=1, hidden=8, heads=2, residual=residual)
        y = refiner(silent, torch.tensor([10]), *states)
        assert bool(y.abs().sum() > 0) == residual


@pytest.mark.slow
@pytest.mark.parametrize("bands", [False, True])
def test_the_native_refiner_restores_what_is_missing_above_8_khz(make, bands):
    """Full-band noise bursts whose upper half was cut off: 120 steps bring it back, the 16 kHz
    refiner cannot."""
    clean = noise(2, 0.4, 48000) * (torch.arange(19200) % 4800 < 2400)
    low = torch.fft.rfft(clean)
    low[:, low.size(1) * 8 // 24 :] = 0
    degraded = torch.fft.irfft(low)
    missing = tilt(clean[0], 9000, 20000, 48000) - tilt(degraded[0], 9000, 20000, 48000)
    assert missing > 60
    restored = {}
    for refiner_fs in ("native", 16000):
        options = {"use_tokens": False, "residual": True, "bands": bands}
        model = make(refiner_fs=refiner_fs, **options).train()
        optim = torch.optim.Adam(model.parameters(), 0.01)
        x, y = spectrum(degraded, 48000), spectrum(clean, 48000)
        ilens = torch.tensor([x.size(1)] * 2)
        for _ in range(120):
            out = model(x, ilens)[0][0]
            loss = (out.abs().clamp_min(1e-4).log() - y.abs().clamp_min(1e-4).log()).abs().mean()
            optim.zero_grad()
            loss.backward()
            optim.step()
        with torch.no_grad():
            out = model.eval()(x, ilens)[0][0]
        wav = torch.istft(out.transpose(1, 2), 1920, 960, window=torch.hann_window(1920))
        restored[refiner_fs] = tilt(wav[0], 9000, 20000, 48000)
    target = tilt(clean[0], 9000, 20000, 48000)
    # What bands add is compressed: it grows slowly from nothing.
    assert abs(restored["native"] - target) < (35 if bands else 10)
    assert restored[16000] < target - 40


@pytest.mark.parametrize("kind", [Refiner, BandedRefiner])
def test_a_state_acts_most_on_its_own_frames(kind):
    torch.manual_seed(0)
    refiner = kind(8, channels=16, downs=2, blocks=1, hidden=8, heads=2)
    with torch.no_grad():
        last_layer(refiner).weight.mul_(20)
    x = torch.randn(1, 60, 161, dtype=torch.complex64)
    states = torch.randn(1, 59, 8)
    lengths = torch.tensor([60]), torch.tensor([59])
    before = refiner(x, lengths[0], states, lengths[1])
    states[:, 30] += torch.randn(8)
    change = (refiner(x, lengths[0], states, lengths[1]) - before).abs().sum((0, 2))
    assert change[27:34].mean() > 5 * change[:15].mean()


# Token loss


def test_token_nll_ignores_padding_and_means_over_tokens():
    logits, tokens = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    lengths = torch.tensor([5, 2])
    loss = TokenNLL(label_smoothing=0.0)(logits, tokens, lengths)
    picked = -logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    expected = torch.cat([picked[0], picked[1, :2]]).mean()
    torch.testing.assert_close(loss, expected)
    tokens[1, 2:] = -1
    torch.testing.assert_close(TokenNLL(0.0)(logits, tokens, lengths), expected)


def test_token_nll_refuses_shapes_that_do_not_match():
    with pytest.raises(ValueError, match=r"\(B, N, V\), \(B, N\) and \(B,\)"):
        TokenNLL()(torch.randn(2, 5, 7), torch.zeros(2, 4, dtype=torch.long), torch.tensor([5, 2]))
