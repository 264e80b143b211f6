"""The banded network: one set of weights for all rates, blind to padding, smooth along bins."""

from pathlib import Path

import pytest
import torch
import yaml
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3

from benchmarks.macs import count
from espnet_hybridse.discriminative.tfgridnet_bands import TFGridNetBands, bounded, weigh
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.nn.spectrum import n_fft

TINY = {"channels": 8, "hidden": 6, "n_layers": 1}
OPTIONS = {
    "plain": {},
    "taps and detail": {"taps": 3, "detail_channels": 4},
    "attention over time": {"attention": "time"},
    "attention over bands": {"attention": "bands", "recur_bands": False},
    "GRU, one direction": {"cell": "gru", "bidirectional": False},
}


def spectrum(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.manual_seed(seed))


def moved(**options):
    """A tiny network whose last layers have left their start, where they do nothing."""
    torch.manual_seed(0)
    network = TFGridNetBands(None, **{**TINY, **options}).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network


def enhance(network, noisy, *lengths):
    with torch.no_grad():
        return network(noisy, torch.tensor(lengths or [noisy.shape[1]] * len(noisy)))[0][0]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
class TestEveryForm:
    def test_a_batch_gives_what_its_utterances_give_alone(self, options):
        network, noisy = moved(**options), spectrum(3, 30, 161)
        batch = enhance(network, noisy, 30, 17, 30)
        torch.testing.assert_close(batch[:1], enhance(network, noisy[:1]), atol=1e-4, rtol=1e-3)
        alone = enhance(network, noisy[1:2, :17])
        torch.testing.assert_close(batch[1:2, :17], alone, atol=1e-4, rtol=1e-3)
        assert batch[1, 17:].abs().max() == 0

    def test_one_set_of_weights_serves_every_rate(self, options):
        network = moved(**options)
        for fs in RATES:
            noisy = spectrum(1, 7, n_fft(fs, 20) // 2 + 1)
            assert enhance(network, noisy).shape == noisy.shape

    def test_every_parameter_learns(self, options):
        network, noisy = moved(**options).train(), spectrum(2, 20, 81)
        network(noisy, torch.tensor([20, 20]))[0][0].abs().mean().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_it_is_a_tfgridnetv3_by_name():
    assert isinstance(moved(), TFGridNetV3)


def test_training_starts_near_the_input():
    torch.manual_seed(0)
    network, noisy = TFGridNetBands(None, **TINY, taps=3, detail_channels=4), spectrum(1, 20, 161)
    error = (enhance(network, noisy) - noisy).abs().square().mean()
    assert error < 0.1 * noisy.abs().square().mean()


def test_level_does_not_matter():
    network, noisy = moved(taps=3), spectrum(1, 12, 161)
    quiet = enhance(network, 1e-3 * noisy)
    torch.testing.assert_close(1e3 * quiet, enhance(network, noisy), atol=1e-3, rtol=1e-3)


def test_silence_stays_silent():
    out = enhance(moved(taps=3, detail_channels=4), torch.zeros(1, 12, 161, dtype=torch.cfloat))
    assert torch.isfinite(torch.view_as_real(out)).all()
    assert out.abs().max() < 1e-3


def test_the_mask_has_no_comb():
    """Where the input has no structure along bands the mask has none of period two or four."""
    network = moved(channels=16)
    with torch.no_grad():
        mask = network._outputs(torch.ones(1, 20, 3, 161))[0][0, 10, 0]
    mask = mask[12:29]  # single bins, away from both ends
    for period in (2, 4):
        comb = torch.exp(2j * torch.pi * torch.arange(16) / period)
        swing = (mask[1:] - mask[:-1]) @ comb / 16
        assert swing.abs() < 0.01 * mask.abs().mean()


def test_48_khz_costs_at_most_half_as_much_again_as_16_khz():
    path = Path(__file__).parents[2] / "conf" / "small" / "train_disc.yaml"
    options = yaml.safe_load(path.read_text())["separator_conf"]
    macs = {}
    for bins in (161, 481):
        noisy, lengths = spectrum(1, 50, bins), torch.tensor([50])
        network = TFGridNetBands(None, **options)
        _, macs[bins] = count(network, lambda net, x=noisy, n=lengths: net(x, n), fake=False)
    assert 0 < macs[481] < 1.5 * macs[161]
    assert macs[161] / 0.5 < 0.5e9  # multiply-accumulates of a second


def test_masks_stay_below_their_bound_and_keep_their_phase():
    mask = spectrum(50) * 100
    out = bounded(mask, 2.0)
    assert out.abs().max() <= 2.0 + 1e-5
    torch.testing.assert_close(out / out.abs(), mask / mask.abs(), atol=1e-4, rtol=1e-4)


def test_a_mask_on_a_neighbouring_frame_shifts_the_signal():
    x = spectrum(1, 5, 4)
    mask = torch.zeros(1, 5, 3, 4, dtype=torch.cfloat)
    mask[:, :, 0] = 1.0  # the frame before
    out = weigh(x, mask)
    torch.testing.assert_close(out[:, 1:], x[:, :-1])
    assert out[:, 0].abs().max() == 0


def test_weights_come_back_from_their_state_dict():
    network, noisy = moved(taps=3, detail_channels=4), spectrum(1, 12, 161)
    other = TFGridNetBands(None, **TINY, taps=3, detail_channels=4).eval()
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(enhance(other, noisy), enhance(network, noisy))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"taps": 2}, "taps=2 must be an odd number"),
        ({"mask_limit": 1.0}, "mask_limit=1.0 must be above 1"),
        ({"compression": 0.0}, r"compression=0.0 must lie in \(0, 1\]"),
        ({"attention": "all"}, "attention='all' is not one of none, time, bands"),
        ({"cell": "rnn"}, "cell='rnn' is not one of lstm, gru"),
        ({"attention": "time", "channels": 10}, "channels=10 is not a multiple of n_head=4"),
    ],
)
def test_wrong_options_say_what_is_accepted(options, words):
    with pytest.raises(ValueError, match=words):
        TFGridNetBands(None, **{**TINY, **options})
