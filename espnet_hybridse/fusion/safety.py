"""A way back where the branches contradict each other."""

import torch
from torch.nn import functional

FALLBACKS = ("disc", "noisy")
FRAMES, BINS = 5, 9
"""Disagreement is judged over 50 ms x 450 Hz: single bins of two good estimates differ anyway."""
TOLERANCE_DB = 6.0


def fall_back(
    fused: torch.Tensor,
    disc: torch.Tensor,
    gen: torch.Tensor,
    fallback: torch.Tensor,
    strength: float,
) -> torch.Tensor:
    """Move `fused` towards `fallback` where the levels of the branches differ strongly.

    Our choice; the paper has no such switch. The generative branch is the one that invents speech
    or drops it, and then its level is far from that of the faithful branch.

    Args:
        fused, disc, gen, fallback: (B, T, F) complex on one grid.
        strength: 0 leaves `fused` as it is, 1 replaces it where the branches exclude each other.

    Returns:
        (B, T, F) complex.
    """
    weight = strength * disagreement(disc, gen)
    return fused + weight * (fallback - fused)


def disagreement(disc: torch.Tensor, gen: torch.Tensor) -> torch.Tensor:
    """(B, T, F) in [0, 1]: 0 up to 6 dB between the branches' local levels, 1 if one is silent."""
    powers = [_local_power(spectrum) for spectrum in (disc, gen)]
    # (a - b) / (a + b) = tanh of half the log ratio: bounded, and 0 / 0 in silence is 0.
    total = powers[0] + powers[1]
    ratio = (powers[0] - powers[1]).abs() / total.clamp_min(torch.finfo(total.dtype).tiny)
    tolerated = 10 ** (TOLERANCE_DB / 10)
    start = (tolerated - 1) / (tolerated + 1)
    return ((ratio - start) / (1 - start)).clamp(0, 1)


def _local_power(spectrum: torch.Tensor) -> torch.Tensor:
    power = spectrum.real.square() + spectrum.imag.square()
    return functional.avg_pool2d(
        power, (FRAMES, BINS), 1, (FRAMES // 2, BINS // 2), count_include_pad=False
    )


def check_safety(strength: float, fallback: str) -> None:
    """Raise ValueError for values that :func:`fall_back` cannot take."""
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"safety={strength} must lie in [0, 1]")
    if fallback not in FALLBACKS:
        raise ValueError(f"safety_to={fallback!r} is not one of {', '.join(FALLBACKS)}")
