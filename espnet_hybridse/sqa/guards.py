"""What keeps a quality network from being fooled when it is a loss.

Twelve steps along the sign of its gradient lift the DNSMOS of a noisy waveform from 1.1 to 4.0 with
a change that lies 14 dB below the signal and leaves the noise untouched. Such a change hangs on the
exact samples that the network hears, and it is large beside what the signal terms ask for.
"""

import logging
import math

import torch
from torch import Tensor

GAIN_DB = 6.0
SHIFT = 160
"""Samples at 16 kHz: one hop of both networks."""
CUT_HZ = (4000.0, 8000.0)
NOISE_DB = -40.0
TAPS = 65
TINY = 1e-20


def disturb(wavs: Tensor, groups: int, samples: int) -> Tensor:
    """Random part, gain, low-pass and faint noise, the same for each of `groups` equal parts.

    The gain (within 6 dB), the low-pass (none to 4 kHz) and the noise (40 dB below the row) are
    drawn for each utterance, the part for the batch: a shift of up to 10 ms at least.

    Args:
        wavs: (groups * B, T) at 16 kHz, such as B clean rows and then their B estimates.
        samples: of the part; what is shorter is heard whole, but for the shift.

    Returns:
        (groups * B, T'). The gradient reaches `wavs`.
    """
    rows, total = wavs.shape[0] // groups, wavs.shape[1]
    start = int(torch.randint(max(total - samples, min(SHIFT, total // 2)) + 1, ()))
    draw = torch.rand(2, rows, 1, device=wavs.device, dtype=wavs.dtype)
    gain = 10 ** (GAIN_DB * (2 * draw[0] - 1) / 20)
    kernels = low_pass(CUT_HZ[0] + (CUT_HZ[1] - CUT_HZ[0]) * draw[1]).repeat(groups, 1)
    wavs = gain.repeat(groups, 1) * wavs[:, start : start + samples]
    wavs = torch.nn.functional.conv1d(
        wavs[None], kernels[:, None], padding=TAPS // 2, groups=len(wavs)
    )[0]
    noise = torch.randn(rows, wavs.shape[1], device=wavs.device, dtype=wavs.dtype)
    level = wavs.detach().square().mean(1, keepdim=True).sqrt() * 10 ** (NOISE_DB / 20)
    return wavs + level * noise.repeat(groups, 1)


def low_pass(cut_hz: Tensor, fs: int = 16000) -> Tensor:
    """Linear-phase filters of unit gain at 0 Hz: cut-off frequencies (B, 1) -> (B, TAPS)."""
    at = torch.arange(TAPS, device=cut_hz.device, dtype=cut_hz.dtype) - TAPS // 2
    window = 0.5 + 0.5 * torch.cos(2 * math.pi * at / (TAPS + 1))
    kernels = torch.sinc(2 * cut_hz / fs * at) * window
    return kernels / kernels.sum(1, keepdim=True)


class GradientShare:
    """A waveform through which no more gradient comes back than a share of what all others send.

    The norms are those of each row of (B, T), at the waveform itself: whatever weights, loss
    scaling or mixed precision the terms have is in them already. A term that is alone on the
    waveform has nothing to be a share of: its gradient is 0, and a warning says so at the first
    step.

    Args:
        share: of the norm of the other terms' gradient, such as 0.1.
    """

    def __init__(self, share: float):
        self.share, self.checked = share, False

    def __call__(self, wav: Tensor) -> Tensor:
        """(B, T) -> the same values, for this term to work on."""
        if not wav.requires_grad:
            return wav
        held: list[Tensor] = []
        branch = wav.view_as(wav)

        def hold(gradient: Tensor) -> Tensor:
            held.append(gradient)
            return torch.zeros_like(gradient)

        # Runs when every use of `wav` has sent its gradient, ours taken away by `hold`.
        def add_share(others: Tensor) -> Tensor | None:
            if not held:
                return None
            mine = held.pop().float()
            limit = self.share * others.float().norm(dim=1, keepdim=True)
            self._check(limit)
            factor = (limit / mine.norm(dim=1, keepdim=True).clamp_min(TINY)).clamp(max=1)
            return others + (factor * mine).to(others.dtype)

        branch.register_hook(hold)
        wav.register_hook(add_share)
        return branch

    def _check(self, limit: Tensor) -> None:
        # Once: asking a GPU for a number makes the processor wait.
        if not self.checked and not bool(limit.any()):
            logging.warning(
                "the SQA loss is the only term that reaches the waveform, so max_share=%g gives it "
                "no gradient; add a signal term, such as mr_stft",
                self.share,
            )
        self.checked = True
