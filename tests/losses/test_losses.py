"""Waveform losses: equal to their definitions, indifferent to padding, safe on silence."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss
from espnet2.enh.loss.wrappers.fixed_order import FixedOrderSolver

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.losses import pesq_bands
from espnet_hybridse.losses.mr_stft import (
    RESOLUTIONS,
    MultiResolutionSTFTLoss,
    scale_resolution,
)
from espnet_hybridse.losses.pmsqe import PMSQE
from espnet_hybridse.losses.regression import RegressionLoss
from espnet_hybridse.losses.time_l1 import TimeL1
from espnet_hybridse.sqa.loss import SQALoss

SPEECH = Path(__file__).parents[1] / "data" / "speech" / "numbers.flac"
LOSSES = {
    "mr_stft": MultiResolutionSTFTLoss,
    "l1_masked": TimeL1,
    "pmsqe": PMSQE,
    "regression": RegressionLoss,
    "regression_03": lambda: RegressionLoss(compression=0.3),
}


def speech_like(seconds, fs, seed=0, rows=1):
    """Harmonics under a syllable-like envelope plus faint noise: (rows, T) near -20 dBFS."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * fs)) / fs
    envelope = (0.5 + 0.5 * torch.sin(2 * np.pi * 3 * time + seed)).square()
    voice = sum(torch.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    noise = torch.randn(rows, len(time), generator=generator)
    return 0.1 * voice * envelope + 0.002 * noise


def noisy(ref, level=0.02, seed=9):
    return ref + level * torch.randn(ref.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
class TestEveryLoss:
    def test_works_in_a_stock_espnet_wrapper(self, make):
        criterion = make()
        assert isinstance(criterion, TimeDomainLoss)
        ref = speech_like(0.5, 16000, rows=2)
        loss, stats, _ = FixedOrderSolver(criterion=criterion)([ref], [noisy(ref)], {})
        assert loss.shape == ()
        assert criterion.name in stats
        assert criterion(ref, noisy(ref)).shape == (2,)

    def test_equal_signals_cost_nothing_and_more_noise_costs_more(self, make):
        criterion = make()
        ref = speech_like(0.5, 16000)
        losses = [criterion(ref, noisy(ref, level)).item() for level in (0.0, 0.005, 0.02, 0.05)]
        assert losses[0] == 0.0
        assert losses == sorted(losses) and losses[1] > 0

    @pytest.mark.parametrize("fs", RATES)
    def test_padding_and_batch_do_not_change_the_loss(self, make, fs):
        criterion = make()
        ref = speech_like(0.3, fs, rows=2)
        inf = noisy(ref)
        ilens = torch.tensor([ref.shape[1], ref.shape[1] * 2 // 3 + 1])
        criterion.set_batch(fs, ilens)
        together = criterion(ref, inf)
        for row, length in enumerate(ilens.tolist()):
            criterion.set_batch(fs)
            alone = criterion(ref[row : row + 1, :length], inf[row : row + 1, :length])
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)

    def test_gradient_is_finite_and_zero_on_padding(self, make):
        criterion = make()
        ref = speech_like(0.3, 16000, rows=2)
        inf = noisy(ref).requires_grad_()
        criterion.set_batch(16000, torch.tensor([4800, 3000]))
        criterion(ref, inf).sum().backward()
        assert inf.grad.isfinite().all()
        assert inf.grad[:, :3000].abs().amax(1).min() > 0
        assert (inf.grad[1, 3000:] == 0).all()

    @pytest.mark.parametrize("ref_level, inf_level", [(0, 0), (0, 0.05), (0.05, 0), (0.05, 1e-6)])
    def test_silence_gives_a_finite_bounded_gradient(self, make, ref_level, inf_level):
        criterion = make()
        ref = ref_level * torch.randn(1, 4000)
        inf = (inf_level * torch.randn(1, 4000)).requires_grad_()
        loss = criterion(ref, inf)
        loss.sum().backward()
        assert loss.isfinite().all() and loss < 100
        assert inf.grad.isfinite().all()

    @pytest.mark.parametrize("samples", [1, 2, 33, 400])
    def test_very_short_utterances_are_no_error(self, make, samples):
        inf = torch.randn(2, samples, requires_grad=True)
        loss = make()(torch.randn(2, samples), inf)
        loss.sum().backward()
        assert loss.isfinite().all() and inf.grad.isfinite().all()

    def test_half_precision_estimates_and_autocast(self, make):
        ref = speech_like(0.3, 16000)
        inf = noisy(ref).bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = make()(ref, inf)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, make()(ref, inf.float()))

    def test_nothing_goes_into_checkpoints(self, make):
        criterion = make()
        criterion(torch.randn(1, 800), torch.randn(1, 800))
        assert not criterion.state_dict()

    def test_shapes_and_stale_lengths_are_refused(self, make):
        criterion = make()
        with pytest.raises(ValueError, match=r"ref \(1, 800\) and inf \(1, 801\)"):
            criterion(torch.randn(1, 800), torch.randn(1, 801))
        criterion.set_batch(16000, torch.tensor([800, 700, 600]))
        with pytest.raises(ValueError, match="set_batch"):
            criterion(torch.randn(2, 800), torch.randn(2, 800))
        criterion.set_batch(16000, torch.tensor([900]))
        with pytest.raises(ValueError, match="900.*T=800"):
            criterion(torch.randn(1, 800), torch.randn(1, 800))


def test_names_are_unique():
    names = [make().name for key, make in LOSSES.items() if key != "regression_03"]
    names.append(SQALoss().name)
    assert sorted(names) == ["l1_masked", "mr_stft", "pmsqe", "regression", "sqa"]


# ---- MR-STFT


def parallel_wavegan(x, y):
    """The published definition at 24 kHz, written plainly: estimate and target (T,)."""
    total = 0.0
    for n_fft, hop, win in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        magnitudes = []
        for wav in (x, y):
            padded = np.pad(wav, n_fft // 2, mode="reflect")
            window = np.zeros(n_fft)
            left = (n_fft - win) // 2
            window[left : left + win] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win) / win)
            frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
            power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
            magnitudes.append(np.sqrt(np.maximum(power, 1e-7)))
        est, ref = magnitudes
        total += np.linalg.norm(ref - est) / np.linalg.norm(ref)
        total += np.abs(np.log(ref) - np.log(est)).mean()
    return total / 3


@pytest.mark.parametrize("samples", [2000, 12000, 24001])
def test_mr_stft_equals_parallel_wavegan_at_24_khz(samples):
    ref = speech_like(2, 24000)[:, :samples].double()
    inf = noisy(ref)
    criterion = MultiResolutionSTFTLoss()
    criterion.set_batch(24000)
    expected = parallel_wavegan(inf[0].numpy(), ref[0].numpy())
    assert criterion(ref, inf).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["mr_stft", "pmsqe"])
def test_blind_to_sign(name):
    # A limit of both definitions: alone they cannot train a branch that is mixed with another.
    ref = speech_like(0.5, 16000)
    assert LOSSES[name]()(ref, -ref).item() == 0.0


@pytest.mark.parametrize("name", ["l1_masked", "regression"])
def test_not_blind_to_sign(name):
    ref = speech_like(0.5, 16000)
    assert LOSSES[name]()(ref, -ref).item() > 0.1


@pytest.mark.parametrize("fs", RATES)
def test_resolutions_keep_their_durations(fs):
    for n_fft, hop, win in RESOLUTIONS:
        new_fft, new_hop, new_win = scale_resolution((n_fft, hop, win), 24000, fs)
        assert new_hop / fs == pytest.approx(hop / 24000, abs=0.501 / fs)
        assert new_win / fs == pytest.approx(win / 24000, abs=0.501 / fs)
        assert new_fft >= new_win
        assert new_fft & (new_fft - 1) == 0
    assert scale_resolution((1000, 100, 1000), 24000, 24000) == (1000, 100, 1000)


def test_mr_stft_value_hardly_depends_on_the_rate():
    values = []
    for fs in (8000, 16000, 48000):
        noise = torch.Generator().manual_seed(0)
        ref = 0.1 * torch.randn(1, fs, generator=noise)
        criterion = MultiResolutionSTFTLoss()
        criterion.set_batch(fs)
        values.append(criterion(ref, ref + 0.05 * torch.randn(1, fs, generator=noise)).item())
    assert max(values) < 1.05 * min(values)


def test_mr_stft_weights_switch_its_terms():
    ref = speech_like(0.3, 16000)
    both = MultiResolutionSTFTLoss()(ref, noisy(ref))
    convergence = MultiResolutionSTFTLoss(log_weight=0.0)(ref, noisy(ref))
    log = MultiResolutionSTFTLoss(sc_weight=0.0)(ref, noisy(ref))
    torch.testing.assert_close(both, convergence + log)
    assert convergence > 0 and log > 0


@pytest.mark.parametrize("bad", [[], [[512, 0, 240]], [[512, 50, 600]], [[512, 50]]])
def test_mr_stft_refuses_impossible_resolutions(bad):
    with pytest.raises(ValueError, match="resolution"):
        MultiResolutionSTFTLoss(resolutions=bad)


# ---- time-domain L1


def test_l1_is_the_mean_difference_over_the_rms():
    ref = torch.tensor([[3.0, -4.0, 0.0, 0.0]])
    inf = torch.tensor([[2.0, -4.0, 1.0, 7.0]])
    criterion = TimeL1()
    criterion.set_batch(16000, torch.tensor([3]))
    torch.testing.assert_close(criterion(ref, inf), torch.tensor([(2 / 3) / (25 / 3) ** 0.5]))
    plain = TimeL1(scale_invariant=False)
    torch.testing.assert_close(plain(ref, inf), torch.tensor([9 / 4]))


@pytest.mark.parametrize("name", ["l1_masked", "regression", "regression_03", "pmsqe"])
def test_level_of_the_pair_does_not_matter(name):
    ref = speech_like(0.5, 16000)
    inf = noisy(ref)
    criterion = LOSSES[name]()
    torch.testing.assert_close(
        criterion(ref, inf), criterion(3 * ref, 3 * inf), rtol=1e-3, atol=1e-5
    )


# ---- PMSQE


def test_bark_bands_tile_the_spectrum_as_in_the_standard():
    matrix = pesq_bands.bark_matrix()
    assert matrix.shape == (257, 49)
    assert ((matrix > 0).sum(1)[:256] == 1).all() and (matrix[256] == 0).all()
    assert pesq_bands.loudness_exponents()[0].item() == pytest.approx(0.23 * 2**0.15)
    assert (pesq_bands.loudness_exponents()[12:] == 0.23).all()
    # The centres that the standard lists beside the widths are where the widths add up to.
    widths = pesq_bands.band_widths()
    centres = (widths.cumsum(0) - widths / 2).tolist()
    assert centres[:3] == pytest.approx([0.078672, 0.316341, 0.636559], abs=1e-5)
    assert centres[-4:] == pytest.approx([19.319147, 19.886751, 20.461355, 21.043034], abs=1e-5)


def pmsqe_of_one_frame(ref, inf):
    """PMSQE of a spectrum that repeats in every frame, from the published formulas, band by band.

    `ref`, `inf`: power (257,). The equalisers follow from one frame, since all are the same.
    """
    thresholds = pesq_bands.hearing_thresholds().numpy()
    widths = pesq_bands.band_widths().numpy()
    exponents = pesq_bands.loudness_exponents().numpy()
    frames = 4

    def bark(power):
        level = (0.4 * power[11] + power[12:104].sum() + 0.5 * power[104]) / 257
        power = 1e7 * power / (level * 2.0 * 514 / 512**2)
        bands, start = [], 0
        for count, _, correction, _ in pesq_bands.BANDS:
            bands.append(6.910853e-6 * correction * power[start : start + count].sum())
            start += count
        return np.array(bands)

    def loudness(band):
        value = 0.1866055 * (thresholds / 0.5) ** exponents
        value = value * ((0.5 + 0.5 * band / thresholds) ** exponents - 1)
        return np.where(band < thresholds, 0, value)

    x, y = bark(ref), bark(inf)
    active = (x >= 100 * thresholds) * (x[x > 100 * thresholds].sum() >= 1e7) * frames
    y = y * np.clip((x * active + 1000) / (y * active + 1000), 0.01, 100)
    audible_x, audible_y = x[x > thresholds].sum(), y[y > thresholds].sum()
    y = y * np.clip((audible_x + 5000) / (audible_y + 5000), 3e-4, 5)
    lx, ly = loudness(x), loudness(y)
    disturbance = np.maximum(np.abs(ly - lx) - 0.25 * np.minimum(lx, ly), 0)
    factor = ((y + 50) / (x + 50)) ** 1.2
    factor = np.where(factor < 3, 0, np.minimum(factor, 12))
    weight = ((audible_x + 1e5) / 1e7) ** 0.04
    symmetric = np.sqrt(((disturbance * widths) ** 2).sum() * widths.sum()) / weight
    asymmetric = (disturbance * factor * widths).sum() / weight
    return 0.1 * min(symmetric, 45) + 0.0309 * min(asymmetric, 45)


@pytest.mark.parametrize(
    "level, published",
    [(0.001, 0.49859), (0.003, 1.49225), (0.01, 2.43619), (0.03, 3.30499), (0.1, 3.90221)],
)
def test_pmsqe_equals_the_authors_reading_on_speech(level, published):
    """`published`: SingleSrcPMSQE of asteroid 0.7.0, which the paper's first author wrote, on power
    spectra of 512 points, hop 256, square-root Hann window, of the very same signals."""
    wav, _ = soundfile.read(SPEECH, dtype="float32")
    noise = np.random.default_rng(0).normal(size=wav.shape)
    ref, inf = torch.tensor(wav)[None], torch.tensor(wav + level * noise).float()[None]
    assert PMSQE()(ref, inf).item() == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize("added", [0.0, 1e-6, 1e-4, 1e-2, 1.0])
def test_pmsqe_equals_the_published_formulas(added):
    rng = np.random.default_rng(3)
    ref = rng.uniform(0, 1, 257) * np.exp(-np.arange(257) / 30)
    inf = ref * rng.uniform(0.5, 1.5, 257) + added * rng.uniform(0, 1, 257)
    stacked = [torch.tensor(power).expand(1, 4, 257) for power in (ref, inf)]
    value = PMSQE().double().from_power(*stacked, torch.tensor([4])).item()
    assert value == pytest.approx(pmsqe_of_one_frame(ref, inf), rel=1e-5)


def test_pmsqe_hears_the_same_at_every_rate():
    values = []
    for fs in (16000, 32000, 48000):
        criterion = PMSQE()
        criterion.set_batch(fs)
        time = torch.arange(fs) / fs
        ref = 0.1 * sum(torch.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20))[None]
        inf = ref + 0.02 * torch.sin(2 * np.pi * 3100 * time)
        values.append(criterion(ref, inf).item())
    assert max(values) < 1.05 * min(values)


# ---- regression


def test_regression_equals_eq_2_at_16_khz():
    ref = speech_like(0.5, 16000).double()
    inf = noisy(ref)
    rms = ref.square().mean().sqrt()
    window = torch.hann_window(640, dtype=torch.float64).sqrt()
    window = window / window.square().sum().sqrt()
    spectra = [
        torch.stft(wav / rms, 640, 320, window=window, pad_mode="constant", return_complex=True)
        for wav in (ref, inf)
    ]
    complex_mse = (spectra[0] - spectra[1]).abs().square().mean()
    magnitude_mse = (spectra[0].abs() - spectra[1].abs()).square().mean()
    expected = 0.1 * complex_mse + 0.9 * magnitude_mse + 0.01 * PMSQE()(ref, inf)[0]
    assert RegressionLoss()(ref, inf).item() == pytest.approx(expected.item(), rel=1e-4)


def test_regression_ignores_what_lies_above_8_khz_unless_told():
    fs = 48000
    ref = speech_like(0.5, fs)
    inf = ref + 0.05 * torch.sin(2 * np.pi * 15000 * torch.arange(ref.shape[1]) / fs)
    for full_band in (False, True):
        criterion = RegressionLoss(full_band=full_band, pmsqe_weight=0.0)
        criterion.set_batch(fs)
        assert (criterion(ref, inf).item() > 0.01) is full_band


def test_regression_refuses_a_compression_that_is_none():
    with pytest.raises(ValueError, match="compression=3"):
        RegressionLoss(compression=3)
