"""L1 loss on waveforms, the second term of eq. (4)."""

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss

from espnet_hybridse.losses.batch_info import BatchInfo, float_wave, length_mask


class TimeL1(TimeDomainLoss, BatchInfo):
    """Mean |ref - inf| over the valid samples of each utterance, divided by the RMS of `ref`.

    Dividing by the RMS is our choice (the paper gives no level): loud and quiet recordings then
    weigh the same, and a level change of both signals leaves the value as it is. Unlike MR-STFT
    this loss sees the sign.

    Args:
        scale_invariant: divide by the reference's RMS; false gives the plain mean.
        min_ref_rms: floor of that RMS (-60 dBFS), so that silent references stay harmless.
    """

    def __init__(
        self,
        scale_invariant: bool = True,
        min_ref_rms: float = 1e-3,
        name: str = "l1_masked",
        only_for_test: bool = False,
    ):
        super().__init__(name, only_for_test=only_for_test)
        self.scale_invariant = scale_invariant
        self.min_ref_rms = min_ref_rms

    def forward(self, ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
        """Clean reference (B, T) and estimate (B, T) -> loss (B,)."""
        ilens = self.batch_lengths(ref, inf)
        ref, inf = float_wave(ref), float_wave(inf)
        mask = length_mask(ilens, ref.shape[1], ref.dtype)
        loss = ((ref - inf).abs() * mask).sum(1) / ilens
        if not self.scale_invariant:
            return loss
        return loss / masked_rms(ref, mask).clamp(min=self.min_ref_rms)


def masked_rms(wav: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """RMS (B,) of the samples of (B, T) where `mask` (B, T) is 1."""
    return ((wav.square() * mask).sum(1) / mask.sum(1)).sqrt()
