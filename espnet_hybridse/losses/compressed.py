"""Compressed spectra: the signal loss of small networks, in place of eq. (2) and MR-STFT."""

from collections.abc import Sequence

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss
from torch import Tensor

from espnet_hybridse.losses.batch_info import BatchInfo, float_wave, length_mask
from espnet_hybridse.losses.time_l1 import masked_rms

MIN_POWER = 1e-8
"""Of a bin, beside white noise of the reference's level: keeps gradients finite on empty bins."""
SI_SDR_FLOOR = 1e-3
"""Share of energy that counts as reached anyway: SI-SDR stays within about +-30 dB."""
SILENT_SHARE = 1e-3
"""A reference this far (-60 dB) below the mixture is silent: the item is noise only."""
MIN_RMS = 1e-5
"""Floor of the level divided by (-100 dBFS), where mixture and reference are silent."""
FLAT_HZ = 8000.0
"""Bins above weigh as 1/f, as the density of hearing's bands falls."""


class CompressedSpectrumLoss(TimeDomainLoss, BatchInfo):
    """MSE of |S|^c, MSE of |S|^c e^(j phase), and minus SI-SDR with a small weight.

    The criterion `compressed`. Its form is common to GTCRN, FastEnhancer, LiSenNet and CMGAN; the
    scales are our choice:

    - Both signals are divided by the reference's RMS over the valid samples, and the transform is
      scaled so that a given spectrum in Hz gives the same values at every sampling rate.
    - Bins up to 8 kHz weigh the same, those above as 8 kHz / f: half of what is heard lies below
      2 kHz, two thirds of the bins of 48 kHz above 8.
    - Where the reference ends in frequency (speech recorded or transmitted in a narrower band),
      bins weigh `above_band` only: nobody can know what should be there.
    - A silent reference (noise alone) takes the mixture's RMS, and the attenuation takes the place
      of SI-SDR, which has no value there.

    The estimate is a waveform, so its spectrum here is that of a real signal: the consistency that
    others add as a term of its own is built in.

    Args:
        magnitude_weight, complex_weight: of the two MSEs, means over frames and weighted bins.
        si_sdr_weight: per dB; 0 skips the term.
        exponent: c.
        windows_ms: windows of the transforms, each with half of it as hop; the mean over them.
        edge_db: bins so far below the strongest, with all above them, lie above the reference's
            band; null charges all bins.
        above_band: weight of bins above the reference's band.

    Raises:
        ValueError: an exponent outside (0, 1], no window, a negative weight.
    """

    def __init__(
        self,
        magnitude_weight: float = 7.0,
        complex_weight: float = 3.0,
        si_sdr_weight: float = 0.05,
        exponent: float = 0.3,
        windows_ms: Sequence[float] = (20,),
        edge_db: float | None = -65.0,
        above_band: float = 0.1,
        name: str = "compressed",
        only_for_test: bool = False,
    ):
        super().__init__(name, only_for_test=only_for_test)
        if not 0.0 < exponent <= 1.0:
            raise ValueError(f"exponent={exponent} must lie in (0, 1]; 0.3 is usual")
        if not windows_ms or min(windows_ms) < 1:
            raise ValueError(f"windows_ms={list(windows_ms)}: expected windows of at least 1 ms")
        weights = (magnitude_weight, complex_weight, si_sdr_weight, above_band)
        if min(weights) < 0.0:
            raise ValueError(
                f"magnitude_weight, complex_weight, si_sdr_weight, above_band = {weights}: "
                "none may be negative"
            )
        self.magnitude_weight, self.complex_weight = magnitude_weight, complex_weight
        self.si_sdr_weight, self.exponent = si_sdr_weight, exponent
        self.windows_ms = tuple(windows_ms)
        self.edge_db, self.above_band = edge_db, above_band

    def forward(self, ref: Tensor, inf: Tensor) -> Tensor:
        """Clean reference (B, T) and estimate (B, T) at `self.fs` -> loss (B,)."""
        ilens = self.batch_lengths(ref, inf)
        ref, inf = float_wave(ref), float_wave(inf)
        mask = length_mask(ilens, ref.shape[1], ref.dtype)
        level, silent = self._level(ref, mask)
        ref, inf = ref * mask / level[:, None], inf * mask / level[:, None]
        loss = sum(self._spectral(ref, inf, ilens, window) for window in self.windows_ms)
        loss = loss / len(self.windows_ms)
        if self.si_sdr_weight:
            reached = torch.where(silent, attenuation(inf, ilens), si_sdr(ref, inf))
            loss = loss - self.si_sdr_weight * reached
        return loss

    def _level(self, ref: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """RMS to divide by (B,), and whether the reference is silent (B,)."""
        level = masked_rms(ref, mask)
        mix = level if self.mix is None else masked_rms(float_wave(self.mix).to(mask), mask)
        silent = level <= (SILENT_SHARE * mix).clamp(min=MIN_RMS)
        return torch.where(silent, mix, level).clamp(min=MIN_RMS), silent

    def _spectral(self, ref: Tensor, inf: Tensor, ilens: Tensor, window_ms: float) -> Tensor:
        size = max(2, int(window_ms * self.fs / 1000))
        ref_spec, inf_spec = (spectrum(wav, size, self.fs) for wav in (ref, inf))
        frames = 1 + ilens // (size // 2)
        frame_mask = length_mask(frames, ref_spec.shape[2], ref.dtype)[:, None]
        ref_power, inf_power = (spec.square().sum(-1) for spec in (ref_spec, inf_spec))
        # The first and the last frame see the signal begin and end, which leaks into all bins.
        inner = length_mask(frames - 1, ref_spec.shape[2], ref.dtype)[:, None]
        inner = torch.cat([torch.zeros_like(inner[..., :1]), inner[..., 1:]], dim=-1)
        weights = self._bin_weights(ref_power * inner, self.fs / size)[..., None] * frame_mask
        weights = weights / weights.sum((1, 2), keepdim=True)

        # |S|^c = (|S|^2)^(c/2), and S |S|^(c-1) for the complex spectrum with its phase.
        ref_gain, inf_gain = (
            (power + MIN_POWER) ** ((self.exponent - 1.0) / 2.0) for power in (ref_power, inf_power)
        )
        loss = torch.zeros_like(ref[:, 0])
        if self.magnitude_weight:
            error = (
                ref_gain * (ref_power + MIN_POWER).sqrt()
                - inf_gain * (inf_power + MIN_POWER).sqrt()
            )
            loss = loss + self.magnitude_weight * (error.square() * weights).sum((1, 2))
        if self.complex_weight:
            error = ref_spec * ref_gain[..., None] - inf_spec * inf_gain[..., None]
            loss = loss + self.complex_weight * (error.square().sum(-1) * weights).sum((1, 2))
        return loss

    def _bin_weights(self, ref_power: Tensor, bin_hz: float) -> Tensor:
        """Weights (B, F) from the reference's power (B, F, frames), zero where it counts not."""
        bins = ref_power.shape[1]
        hertz = torch.arange(bins, device=ref_power.device) * bin_hz
        weights = FLAT_HZ / hertz.clamp(min=FLAT_HZ).to(ref_power.dtype)
        if self.edge_db is None:
            return weights.expand(ref_power.shape[0], bins)
        mean = ref_power.sum(2)
        strong = mean >= mean.amax(1, keepdim=True) * 10.0 ** (self.edge_db / 10.0)
        # A bin counts as within the band if it or any bin above it is strong.
        within = strong.flip(1).cumsum(1).flip(1) > 0
        return weights * torch.where(within, 1.0, self.above_band)


def spectrum(wav: Tensor, size: int, fs: int) -> Tensor:
    """(B, T) -> (B, F, frames, 2), zeros before and behind; |S|^2 does not depend on `fs`.

    White noise of RMS 1 at 16 kHz has |S|^2 = 1 in the mean; the same noise within 48 kHz, where
    it fills a third of the band, too.
    """
    window = torch.hann_window(size, dtype=wav.dtype, device=wav.device)
    window = window / torch.linalg.vector_norm(window) * (16000.0 / fs) ** 0.5
    out = torch.stft(wav, size, size // 2, window=window, pad_mode="constant", return_complex=True)
    return torch.view_as_real(out)


def si_sdr(ref: Tensor, inf: Tensor) -> Tensor:
    """Scale-invariant SDR in dB (B,), bounded smoothly; padding must be zero in both.

    With c = cos^2 of the angle between both signals SI-SDR is 10 log10(c / (1 - c)): the form with
    a floor on either side is finite for clean and for silent estimates.
    """
    dot = (ref * inf).sum(1)
    cosine = dot.square() / (ref.square().sum(1) * inf.square().sum(1)).clamp(min=1e-8)
    return 10.0 * ((cosine + SI_SDR_FLOOR) / (1.0 - cosine + SI_SDR_FLOOR)).log10()


def attenuation(inf: Tensor, ilens: Tensor) -> Tensor:
    """How far an estimate (B, T) lies below unit level, in dB (B,), bounded to 30."""
    return -10.0 * (inf.square().sum(1) / ilens + SI_SDR_FLOOR).log10()
