"""Regression loss of the generative branch's refiner: eq. (2)."""

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss

from espnet_hybridse.losses.batch_info import BatchInfo, float_wave, length_mask
from espnet_hybridse.losses.pmsqe import PMSQE
from espnet_hybridse.losses.time_l1 import masked_rms

BRANCH_FS = 16000
WIN_MS = 40
HOP_MS = 20
"""Section 3.1: window 640 and hop 320 at 16 kHz, whole numbers at all seven rates."""

MIN_POWER = 1e-8


class RegressionLoss(TimeDomainLoss, BatchInfo):
    """0.1 MSE of the complex spectrum + 0.9 MSE of its magnitude + 0.01 PMSQE, eq. (2).

    The MSEs are means over the valid frames and the bins of the branch's own 40/20 ms STFT
    (square-root Hann, so that its power does not depend on the overlap). The complex MSE counts
    |S - S'|^2 per bin. Our choices, where the paper gives no scale:

    - Both signals are divided by the reference's RMS over the valid samples, and the transform by
      the window's norm: white noise of the reference's level has |S|^2 = 1, whatever the
      recording level and the sampling rate.
    - `compression` c replaces |S| by |S|^c and S by |S|^c e^{j phase}; 1.0 is the paper's plain
      spectrum, 0.3 (the mini preset) lets weak high bands weigh more.
    - Above 16 kHz only the bins up to 8 kHz are compared, as the branch is a 16 kHz one, unless
      `full_band` is set (a refiner that runs at the input's own rate).

    Args:
        complex_weight, magnitude_weight, pmsqe_weight: eq. (2); a weight of 0 skips the term.
        compression: exponent c of the magnitude, 0 < c <= 1.
        full_band: compare all bins at rates above 16 kHz.
        min_ref_rms: floor of the reference's RMS (-40 dBFS: the errors are squared), so that a
            silent reference does not outweigh the batch.

    Raises:
        ValueError: `compression` outside (0, 1].
    """

    def __init__(
        self,
        complex_weight: float = 0.1,
        magnitude_weight: float = 0.9,
        pmsqe_weight: float = 0.01,
        compression: float = 1.0,
        full_band: bool = False,
        min_ref_rms: float = 1e-2,
        name: str = "regression",
        only_for_test: bool = False,
    ):
        super().__init__(name, only_for_test=only_for_test)
        if not 0.0 < compression <= 1.0:
            raise ValueError(
                f"compression={compression}: expected 0 < compression <= 1; "
                "1.0 is eq. (2), 0.3 a usual compression"
            )
        self.complex_weight = complex_weight
        self.magnitude_weight = magnitude_weight
        self.pmsqe_weight = pmsqe_weight
        self.compression = compression
        self.full_band = full_band
        self.min_ref_rms = min_ref_rms
        self.pmsqe = PMSQE()

    def forward(self, ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
        """Clean reference (B, T) and estimate (B, T) at `self.fs` -> loss (B,)."""
        ilens = self.batch_lengths(ref, inf)
        ref, inf = float_wave(ref), float_wave(inf)
        mask = length_mask(ilens, ref.shape[1], ref.dtype)
        scale = (mask / masked_rms(ref, mask).clamp(min=self.min_ref_rms)[:, None]).to(ref.dtype)
        ref_spec, inf_spec = self._spectrum(ref * scale), self._spectrum(inf * scale)

        hop_length = self.fs * HOP_MS // 1000
        frames = 1 + ilens // hop_length
        cells = frames * ref_spec.shape[1]
        frame_mask = length_mask(frames, ref_spec.shape[2], ref.dtype)[:, None]
        ref_mag, inf_mag = self._magnitude(ref_spec), self._magnitude(inf_spec)
        loss = torch.zeros_like(ref[:, 0])
        if self.magnitude_weight:
            error = (ref_mag - inf_mag).square() * frame_mask
            loss = loss + self.magnitude_weight * error.sum((1, 2)) / cells
        if self.complex_weight:
            difference = self._compress(ref_spec, ref_mag) - self._compress(inf_spec, inf_mag)
            error = difference.square().sum(-1) * frame_mask
            loss = loss + self.complex_weight * error.sum((1, 2)) / cells
        if self.pmsqe_weight:
            self.pmsqe.set_batch(self.fs, self.ilens)
            loss = loss + self.pmsqe_weight * self.pmsqe(ref, inf)
        return loss

    def _spectrum(self, wav: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, F, frames, 2); zeros stand before and behind the utterance."""
        n_fft = self.fs * WIN_MS // 1000
        window = torch.hann_window(n_fft, dtype=wav.dtype, device=wav.device).sqrt()
        spectrum = torch.stft(
            wav,
            n_fft,
            self.fs * HOP_MS // 1000,
            window=window / torch.linalg.vector_norm(window),
            pad_mode="constant",
            return_complex=True,
        )
        if self.fs > BRANCH_FS and not self.full_band:
            # 25 Hz per bin at every rate: bin 320 is 8 kHz.
            spectrum = spectrum[:, : BRANCH_FS // 2 * WIN_MS // 1000 + 1]
        return torch.view_as_real(spectrum)

    def _magnitude(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(|S|^2 + floor)^(c/2): the floor keeps the gradient finite on empty bins."""
        return (spectrum.square().sum(-1) + MIN_POWER) ** (self.compression / 2)

    def _compress(self, spectrum: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
        """S |S|^(c - 1), shape kept; `magnitude` is |S|^c."""
        if self.compression == 1.0:
            return spectrum
        return spectrum * (magnitude ** (1 - 1 / self.compression))[..., None]
