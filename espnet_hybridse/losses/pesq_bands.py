"""The 49 wide-band Bark bands of PESQ (ITU-T P.862 with the P.862.2 wide-band extension)."""

import torch

BANDS = (
    # DFT bins of 31.25 Hz, width in Bark, power density correction, absolute threshold (power)
    (1, 0.157344, 100, 51286152),
    (1, 0.317994, 99.999992, 2454709.5),
    (1, 0.322441, 100, 70794.59375),
    (1, 0.326934, 100.000008, 4897.788574),
    (1, 0.331474, 100.000008, 1174.897705),
    (1, 0.336061, 100.000015, 389.045166),
    (1, 0.340697, 99.999992, 104.71286),
    (1, 0.345381, 99.999969, 45.70882),
    (2, 0.350114, 50.000027, 17.782795),
    (1, 0.354897, 100, 9.772372),
    (1, 0.359729, 99.999969, 4.897789),
    (1, 0.364611, 100.000015, 3.090296),
    (1, 0.369544, 99.999947, 1.905461),
    (1, 0.374529, 100.000061, 1.258925),
    (2, 0.379565, 53.047077, 0.977237),
    (1, 0.384653, 110.000046, 0.724436),
    (1, 0.389794, 117.991989, 0.562341),
    (2, 0.394989, 65, 0.457088),
    (2, 0.400236, 68.760147, 0.389045),
    (2, 0.405538, 69.999931, 0.331131),
    (2, 0.410894, 71.428818, 0.295121),
    (2, 0.416306, 75.000038, 0.269153),
    (2, 0.421773, 76.843384, 0.25704),
    (2, 0.427297, 80.968781, 0.251189),
    (2, 0.432877, 88.646126, 0.251189),
    (3, 0.438514, 63.864388, 0.251189),
    (3, 0.444209, 68.15535, 0.251189),
    (3, 0.449962, 72.547775, 0.263027),
    (3, 0.455774, 75.584831, 0.288403),
    (4, 0.461645, 58.379192, 0.30903),
    (3, 0.467577, 80.950836, 0.338844),
    (4, 0.473569, 64.135651, 0.371535),
    (5, 0.479621, 54.384785, 0.398107),
    (4, 0.485736, 73.821884, 0.436516),
    (5, 0.491912, 64.437073, 0.467735),
    (6, 0.498151, 59.176456, 0.489779),
    (6, 0.504454, 65.521278, 0.501187),
    (7, 0.510819, 61.399822, 0.501187),
    (8, 0.51725, 58.144047, 0.512861),
    (9, 0.523745, 57.004543, 0.524807),
    (9, 0.530308, 64.126297, 0.524807),
    (12, 0.536934, 54.311001, 0.524807),
    (12, 0.543629, 61.114979, 0.512861),
    (15, 0.55039, 55.077751, 0.47863),
    (16, 0.55722, 56.849335, 0.42658),
    (18, 0.564119, 55.628868, 0.371535),
    (21, 0.571085, 53.137054, 0.363078),
    (25, 0.578125, 54.985844, 0.416869),
    (20, 0.585232, 79.546974, 0.537032),
)
"""The standard's table for 16 kHz: one row per band, low to high, tiling DFT bins 0 to 255."""

SP = 6.910853e-6
"""P.862: Sp, from calibrated power to pitch power density, at 16 kHz."""

SL = 1.866055e-1
"""P.862: Sl, from Zwicker's law to sone."""

ZWICKER_POWER = 0.23
"""P.862: exponent of Zwicker's law from 4 Bark up."""


def bark_matrix(bins: int = 257) -> torch.Tensor:
    """(bins, 49) float64: power spectrum of a 512-point DFT -> corrected power per Bark band.

    The Nyquist bin (256) belongs to no band, as in the standard.
    """
    matrix = torch.zeros(bins, len(BANDS), dtype=torch.float64)
    start = 0
    for band, (count, _, correction, _) in enumerate(BANDS):
        matrix[start : start + count, band] = correction
        start += count
    return matrix


def band_widths() -> torch.Tensor:
    """Widths of the bands in Bark: (49,) float64."""
    return torch.tensor([row[1] for row in BANDS], dtype=torch.float64)


def hearing_thresholds() -> torch.Tensor:
    """Absolute hearing threshold of each band as power: (49,) float64."""
    return torch.tensor([row[3] for row in BANDS], dtype=torch.float64)


def loudness_exponents() -> torch.Tensor:
    """Exponents of Zwicker's law, larger below 4 Bark as P.862 modifies them: (49,) float64."""
    widths = band_widths()
    centres = widths.cumsum(0) - widths / 2
    boost = (6 / (centres + 2)).clamp(min=1.0, max=2.0)
    return ZWICKER_POWER * boost**0.15
