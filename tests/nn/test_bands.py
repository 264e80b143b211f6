"""Merged bands: a partition of unity with the same edges in Hz at every rate."""

import pytest
import torch

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.nn.bands import Bands, band_centres, band_matrix
from espnet_hybridse.nn.spectrum import n_fft

BINS = [n_fft(fs, 20) // 2 + 1 for fs in RATES]


@pytest.mark.parametrize("bins", BINS)
def test_a_constant_survives_merging_and_spreading(bins):
    bands = Bands()
    constant = torch.full((2, bins), 3.0)
    merged = bands.merge(constant)
    torch.testing.assert_close(merged, torch.full((2, bands.count(bins)), 3.0))
    torch.testing.assert_close(bands.spread(merged, bins), constant)


@pytest.mark.parametrize("bins", BINS[:-1])
def test_a_lower_rate_has_the_first_bands_of_a_higher_one(bins):
    full, cut = Bands(), band_matrix(bins, *Bands().key)
    torch.testing.assert_close(cut, band_matrix(481, *full.key)[: cut.shape[0], :bins])


def test_single_bins_come_back_as_they_were():
    bands, x = Bands(single=32), torch.rand(161)
    torch.testing.assert_close(bands.spread(bands.merge(x), 161)[:32], x[:32])


def test_what_is_spread_has_no_steps():
    bands = Bands()
    wide = bands.spread(torch.eye(bands.count(481)), 481)
    centres = torch.tensor(band_centres(*bands.key)) / 50.0
    widest = float((centres[1:] - centres[:-1]).min())
    # From one bin to the next a band's weight moves by no more than its slope.
    assert (wide[-2, 1:] - wide[-2, :-1]).abs().max() < 0.15
    assert widest >= 1.0


def test_48_khz_has_at_most_half_as_many_bands_again_as_16_khz():
    bands = Bands()
    assert bands.count(481) <= 1.5 * bands.count(161)


@pytest.mark.parametrize("single, erb_step", [(0, 0.4), (500, 0.4), (32, 0.0), (4, 0.1)])
def test_what_makes_no_bands_is_refused(single, erb_step):
    with pytest.raises(ValueError, match="erb_step"):
        Bands(single, erb_step)


def test_bands_of_another_spectrum_are_refused():
    with pytest.raises(ValueError, match="90 bands do not belong to 161 bins, which have"):
        Bands().spread(torch.zeros(90), 161)
