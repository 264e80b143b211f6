"""PMSQE: PESQ's disturbances as a differentiable loss, [12] in the paper, last term of eq. (2)."""

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss

from espnet_hybridse.losses import pesq_bands
from espnet_hybridse.losses.batch_info import (
    BatchInfo,
    float_wave,
    length_mask,
    resample_valid,
    without_autocast,
)

FS = 16000
N_FFT = 512
HOP_LENGTH = 256
WINDOW_POWER_CORRECTION = 2.0
"""Power lost to a square-root Hann window: 1 / mean(w^2)."""

ALPHA = 0.1
BETA = 0.309 * ALPHA
"""Weights of the symmetric and the asymmetric disturbance (Martin-Donas et al. 2018)."""

LISTENING_POWER = 1e7
"""P.862: mean power of 350 to 3250 Hz to which both signals are set."""

MAX_DISTURBANCE = 45.0
"""P.862: largest disturbance of a frame."""

MIN_LEVEL = 1e-6
"""Floor of the measured level (-60 dBFS), our choice: keeps the gradient small on silence."""


class PMSQE(TimeDomainLoss, BatchInfo):
    """Perceptual metric for speech quality evaluation: 0 for equal signals, about 6 at most.

    Martin-Donas, Gomez, Gonzalez and Peinado, "A deep learning loss function based on the
    perceptual evaluation of the speech quality", IEEE Signal Processing Letters 25 (11), 2018.
    Per frame: alpha D_sym + beta D_asym over PESQ's 49 wide-band Bark bands, then the mean over
    the frames that lie within the valid samples. It is blind to sign, to phase and to level, and
    it hears nothing above 8 kHz: audio at other rates is resampled to 16 kHz.

    The spectra are its own (512 points, hop 256, square-root Hann, at 16 kHz), whatever the
    enhancer's STFT.
    """

    def __init__(self, name: str = "pmsqe", only_for_test: bool = False):
        super().__init__(name, only_for_test=only_for_test)
        # Not persistent: constants do not belong in checkpoints.
        constants = {
            "window": torch.hann_window(N_FFT, dtype=torch.float64).sqrt(),
            "level_weights": level_weights(),
            "bark": pesq_bands.SP * pesq_bands.bark_matrix(N_FFT // 2 + 1),
            "widths": pesq_bands.band_widths(),
            "thresholds": pesq_bands.hearing_thresholds(),
            "exponents": pesq_bands.loudness_exponents(),
        }
        for key, value in constants.items():
            self.register_buffer(key, value.to(torch.get_default_dtype()), persistent=False)

    def forward(self, ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
        """Clean reference (B, T) and estimate (B, T) at `self.fs` -> loss (B,)."""
        ilens = self.batch_lengths(ref, inf)
        ref, inf = float_wave(ref), float_wave(inf)
        # ESPnet keeps criterions in a plain list: model.to(device) does not reach the constants.
        self.to(ref)
        with without_autocast(ref):
            ref, lengths = resample_valid(ref, ilens, self.fs, FS)
            inf, _ = resample_valid(inf, ilens, self.fs, FS)
            frames = 1 + (lengths - N_FFT).clamp(min=0) // HOP_LENGTH
            return self.from_power(self._power(ref), self._power(inf), frames)

    def _power(self, wav: torch.Tensor) -> torch.Tensor:
        """(B, T) at 16 kHz -> power spectrogram (B, frames, 257), frames wholly inside T."""
        wav = torch.nn.functional.pad(wav, (0, max(0, N_FFT - wav.shape[1])))
        spectrum = torch.stft(
            wav,
            N_FFT,
            HOP_LENGTH,
            window=self.window,
            center=False,
            return_complex=True,
        )
        return torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)

    def from_power(
        self, ref: torch.Tensor, inf: torch.Tensor, frames: torch.Tensor
    ) -> torch.Tensor:
        """Power spectrograms (B, frames, 257), not magnitudes, and valid frames (B,) -> (B,)."""
        mask = length_mask(frames, ref.shape[1], ref.dtype)[..., None]
        ref = self._bark_power(ref, mask)
        inf = self._bark_power(inf, mask)
        inf = inf * self._frequency_gain(ref, inf, mask)
        inf = inf * self._frame_gain(ref, inf)

        ref_loudness, inf_loudness = self._loudness(ref), self._loudness(inf)
        masking = 0.25 * torch.minimum(ref_loudness, inf_loudness)
        disturbance = ((inf_loudness - ref_loudness).abs() - masking).relu() * self.widths
        # vector_norm has gradient 0 at 0, where a plain square root has none.
        symmetric = torch.linalg.vector_norm(disturbance, dim=-1) * self.widths.sum().sqrt()
        asymmetric = (disturbance * asymmetry(ref, inf)).sum(-1)

        loudness_weight = ((self._audible(ref, 1.0).sum(-1) + 1e5) / 1e7) ** 0.04
        frame_loss = ALPHA * (symmetric / loudness_weight).clamp(max=MAX_DISTURBANCE)
        frame_loss = frame_loss + BETA * (asymmetric / loudness_weight).clamp(max=MAX_DISTURBANCE)
        return (frame_loss * mask[..., 0]).sum(1) / frames

    def _bark_power(self, power: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Set the listening level, then sum the bins of each Bark band: (B, frames, 49)."""
        frame_level = (power * self.level_weights).mean(-1, keepdim=True) * mask
        level = frame_level.sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        return LISTENING_POWER * (power / level.clamp(min=MIN_LEVEL)) @ self.bark

    def _audible(self, bark: torch.Tensor, factor: float) -> torch.Tensor:
        """`bark` where it exceeds `factor` times the hearing threshold, else 0."""
        return bark * (bark > factor * self.thresholds)

    def _frequency_gain(self, ref, inf, mask):
        """Equaliser (B, 1, 49): the estimate's long-term spectrum is not judged (-20 to 20 dB)."""
        speech = (self._audible(ref, 100.0).sum(-1, keepdim=True) >= 1e7) * mask
        active = (ref >= 100.0 * self.thresholds) * speech
        ref_band = (ref * active).sum(1, keepdim=True)
        inf_band = (inf * active).sum(1, keepdim=True)
        return ((ref_band + 1e3) / (inf_band + 1e3)).clamp(0.01, 100.0)

    def _frame_gain(self, ref, inf):
        """Gain (B, frames, 1): short-term level changes are not judged (-35 to 7 dB)."""
        ref_power = self._audible(ref, 1.0).sum(-1, keepdim=True)
        inf_power = self._audible(inf, 1.0).sum(-1, keepdim=True)
        return ((ref_power + 5e3) / (inf_power + 5e3)).clamp(3e-4, 5.0)

    def _loudness(self, bark: torch.Tensor) -> torch.Tensor:
        """Zwicker's law: Bark power -> specific loudness in sone, 0 below the threshold."""
        scale = pesq_bands.SL * (self.thresholds / 0.5) ** self.exponents
        ratio = 0.5 + 0.5 * bark / self.thresholds
        return scale * (ratio**self.exponents - 1.0) * (bark >= self.thresholds)


def asymmetry(ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
    """P.862's factor by which added sound weighs more than lost sound: 0, or 3 to 12."""
    factor = ((inf + 50.0) / (ref + 50.0)) ** 1.2
    return factor.clamp(max=12.0) * (factor >= 3.0)


def level_weights() -> torch.Tensor:
    """Weights (257,) of the power bins in the level: 350 to 3250 Hz, calibrated as in P.862."""
    weights = torch.zeros(N_FFT // 2 + 1, dtype=torch.float64)
    weights[11] = 0.5 * 25.0 / 31.25
    weights[12:104] = 1.0
    weights[104] = 0.5
    return weights * WINDOW_POWER_CORRECTION * (N_FFT + 2.0) / N_FFT**2
