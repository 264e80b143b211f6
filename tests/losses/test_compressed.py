"""The compressed loss: its gradient, its scales, silence, padding and narrow bands."""

import pytest
import torch

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.losses.compressed import CompressedSpectrumLoss, attenuation, si_sdr


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.manual_seed(seed), dtype=dtype)


def loss(ref, inf, fs=16000, ilens=None, mix=None, **options):
    criterion = CompressedSpectrumLoss(**options)
    criterion.set_batch(fs, ilens, mix)
    return criterion(ref, inf)


def low_pass(wav, fs, hz):
    """(B, T) without what lies above `hz`."""
    spectrum = torch.fft.rfft(wav)
    spectrum[:, int(hz / fs * wav.shape[1]) :] = 0
    return torch.fft.irfft(spectrum, wav.shape[1])


@pytest.mark.slow
def test_gradient_is_that_of_finite_differences():
    ref = noise(1, 400, dtype=torch.float64)
    inf = (ref + 0.5 * noise(1, 400, seed=1, dtype=torch.float64)).requires_grad_()
    criterion = CompressedSpectrumLoss()
    assert torch.autograd.gradcheck(lambda x: criterion(ref, x), (inf,), eps=1e-6, atol=1e-4)


def test_more_noise_costs_more_and_a_turned_sign_most():
    ref = noise(1, 8000)
    values = [loss(ref, ref + share * noise(1, 8000, seed=1)).item() for share in (0, 0.1, 0.5)]
    assert values == sorted(values)
    assert loss(ref, -ref, si_sdr_weight=0.0) > loss(ref, ref + noise(1, 8000, seed=1))


@pytest.mark.parametrize("gain", [1e-3, 30.0])
def test_the_recording_level_does_not_matter(gain):
    ref, inf = noise(2, 8000), noise(2, 8000, seed=1)
    torch.testing.assert_close(loss(gain * ref, gain * inf), loss(ref, inf), rtol=1e-3, atol=1e-3)


def test_the_estimate_alone_may_not_change_its_level():
    ref = noise(1, 8000)
    assert loss(ref, 0.5 * ref) > loss(ref, ref) + 0.1


@pytest.mark.parametrize("fs", [fs for fs in RATES if fs > 16000])
def test_the_same_narrow_sound_costs_alike_at_every_rate(fs):
    """What 16 kHz cannot hold is empty here, and its bins weigh little."""
    values = {}
    for rate in (16000, fs):
        time = torch.arange(rate) / rate
        ref = sum(torch.sin(6.2832 * 170 * k * time + k) for k in range(1, 40))[None]
        inf = sum(torch.sin(6.2832 * 170 * k * time + k) for k in range(1, 20))[None]
        values[rate] = loss(ref, inf, rate, above_band=0.0).item()
    assert values[fs] == pytest.approx(values[16000], rel=0.1)


@pytest.mark.parametrize("ilens", [[8000, 3111], [5000, 8000]])
def test_padding_does_not_matter(ilens):
    ref, inf = noise(2, 8000), noise(2, 8000, seed=1)
    batch = loss(ref, inf, ilens=torch.tensor(ilens), windows_ms=(20, 40))
    for row, length in enumerate(ilens):
        cut = slice(row, row + 1), slice(0, length)
        alone = loss(ref[cut], inf[cut], windows_ms=(20, 40))
        torch.testing.assert_close(batch[cut[0]], alone, rtol=1e-4, atol=1e-4)


class TestSilentReference:
    mix = 0.1 * noise(1, 8000)

    def test_it_pays_to_be_quieter(self):
        ref = torch.zeros(1, 8000)
        values = [loss(ref, gain * self.mix, mix=self.mix).item() for gain in (0.0, 0.1, 1.0)]
        assert values == sorted(values)
        assert values[0] < values[1] < values[2]

    def test_it_weighs_about_as_much_as_speech_does(self):
        silent = loss(torch.zeros(1, 8000), self.mix, mix=self.mix)
        speech = loss(noise(1, 8000, seed=2), self.mix * 10, mix=self.mix)
        assert 0.2 < silent / speech < 5.0

    @pytest.mark.parametrize("mix", [None, torch.zeros(1, 8000), mix])
    @pytest.mark.parametrize("level", [0.0, 1e-4, 1.0])
    def test_value_and_gradient_are_finite(self, mix, level):
        inf = (level * noise(1, 8000, seed=3)).requires_grad_()
        value = loss(torch.zeros(1, 8000), inf, mix=mix)
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert torch.isfinite(inf.grad).all()


def test_a_silent_or_perfect_estimate_has_a_finite_gradient():
    ref = noise(2, 8000)
    inf = torch.stack([torch.zeros(8000), ref[1]]).requires_grad_()
    loss(ref, inf).sum().backward()
    assert torch.isfinite(inf.grad).all()


def test_little_is_charged_above_the_band_of_the_reference():
    fs = 48000
    ref = low_pass(noise(1, fs), fs, 4000)
    hiss = 0.1 * (noise(1, fs, seed=1) - low_pass(noise(1, fs, seed=1), fs, 6000))
    options = {"si_sdr_weight": 0.0}
    charged = loss(ref, ref + hiss, fs, edge_db=None, **options)
    lightly = loss(ref, ref + hiss, fs, **options)
    assert 0 < lightly < 0.5 * charged
    assert loss(ref, ref + hiss, fs, above_band=0.0, **options) < 0.02 * charged


def test_a_full_band_reference_is_charged_everywhere():
    ref, inf = noise(1, 8000), noise(1, 8000, seed=1)
    torch.testing.assert_close(loss(ref, inf), loss(ref, inf, edge_db=None))


def test_si_sdr_is_the_usual_one_within_its_bounds():
    ref = noise(1, 16000)
    inf = 3.0 * (ref + 0.1 * noise(1, 16000, seed=1))
    dot = (ref * inf).sum() / ref.square().sum()
    usual = 10 * torch.log10((dot * ref).square().sum() / (inf - dot * ref).square().sum())
    torch.testing.assert_close(si_sdr(ref, inf)[0], usual, atol=0.5, rtol=0.0)
    assert si_sdr(ref, ref) <= 30.1
    assert attenuation(torch.zeros(1, 100), torch.tensor([100])) <= 30.1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"exponent": 0.0}, "exponent=0.0"),
        ({"windows_ms": []}, "windows_ms"),
        ({"above_band": -1.0}, "none may be negative"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        CompressedSpectrumLoss(**options)
