"""Multi-resolution STFT loss, [11] in the paper: the discriminative branch and eq. (4)."""

import math
from collections.abc import Sequence

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss

from espnet_hybridse.losses.batch_info import BatchInfo, float_wave, length_mask

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
"""(n_fft, hop_length, win_length) of Parallel WaveGAN, in samples at 24 kHz."""

DESIGN_FS = 24000
MIN_POWER = 1e-7


class MultiResolutionSTFTLoss(TimeDomainLoss, BatchInfo):
    """Spectral convergence plus L1 of the log magnitudes, averaged over the resolutions.

    Parallel WaveGAN's definition (Hann window, reflected edges, power clamped at 1e-7), equal to
    it at 24 kHz for one utterance. Our choices where that definition stops:

    - Other rates keep the durations (25/5, 50/10 and 10/2.1 ms window/hop); n_fft becomes the
      power of two nearest to the scaled value, since any other size costs five times more on CPU.
    - The norms are taken over each utterance, not over the batch, and its edges are reflected at
      its own end: the value does not depend on the batch's size or padding.
    - The reference's norm is at least that of noise of `min_ref_rms`: a silent reference would
      otherwise outweigh the rest of the batch a thousandfold.

    The loss sees magnitudes only, so it is blind to sign and phase: L(x, -x) = 0. Add a time-domain
    term (`l1_masked`) where the sign matters, and it does when two branches are to be mixed.

    Args:
        resolutions: (n_fft, hop_length, win_length) in samples at `design_fs`.
        sc_weight: weight of the spectral convergence.
        log_weight: weight of the log-magnitude L1.
        design_fs: rate in Hz at which `resolutions` are given.
        min_ref_rms: floor of the reference's RMS in the spectral convergence (-60 dBFS).

    Raises:
        ValueError: a resolution that does not satisfy 0 < hop_length <= win_length <= n_fft.
    """

    def __init__(
        self,
        resolutions: Sequence[Sequence[int]] = RESOLUTIONS,
        sc_weight: float = 1.0,
        log_weight: float = 1.0,
        design_fs: int = DESIGN_FS,
        min_ref_rms: float = 1e-3,
        name: str = "mr_stft",
        only_for_test: bool = False,
    ):
        super().__init__(name, only_for_test=only_for_test)
        if not resolutions:
            raise ValueError("resolutions is empty; give (n_fft, hop_length, win_length) triples")
        for resolution in resolutions:
            if len(resolution) != 3 or not 0 < resolution[1] <= resolution[2] <= resolution[0]:
                raise ValueError(
                    f"resolution {list(resolution)}: expected (n_fft, hop_length, win_length) "
                    "with 0 < hop_length <= win_length <= n_fft"
                )
        self.resolutions = [tuple(resolution) for resolution in resolutions]
        self.sc_weight = sc_weight
        self.log_weight = log_weight
        self.design_fs = design_fs
        self.min_ref_rms = min_ref_rms
        self._windows: dict[tuple, torch.Tensor] = {}

    def forward(self, ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
        """Clean reference (B, T) and estimate (B, T) at `self.fs` -> loss (B,)."""
        ilens = self.batch_lengths(ref, inf)
        plans = [scale_resolution(item, self.design_fs, self.fs) for item in self.resolutions]
        edge = max(n_fft for n_fft, _, _ in plans) // 2
        index = reflect_index(ilens, ref.shape[1], edge)
        ref = float_wave(ref).gather(1, index)
        inf = float_wave(inf).gather(1, index)
        total = sum(self._resolution_loss(ref, inf, ilens, edge, *plan) for plan in plans)
        return total / len(plans)

    def _resolution_loss(self, ref, inf, ilens, edge, n_fft, hop_length, win_length):
        cut = edge - n_fft // 2
        samples = slice(cut, ref.shape[1] - cut)
        window = self._window(win_length, ref)
        ref_power = stft_power(ref[:, samples], n_fft, hop_length, window)
        inf_power = stft_power(inf[:, samples], n_fft, hop_length, window)

        frames = 1 + ilens // hop_length
        cells = frames * ref_power.shape[1]
        mask = length_mask(frames, ref_power.shape[2], ref.dtype)[:, None]
        ref_mag, inf_mag = ref_power.sqrt(), inf_power.sqrt()
        floor = self.min_ref_rms * (cells * window.square().sum()).sqrt()
        ref_norm = torch.linalg.vector_norm(ref_mag * mask, dim=(1, 2))
        error_norm = torch.linalg.vector_norm((ref_mag - inf_mag) * mask, dim=(1, 2))
        convergence = error_norm / torch.maximum(ref_norm, floor)

        # log |X| = log(|X|^2) / 2
        log_error = (ref_power.log() - inf_power.log()).abs() * mask
        log_l1 = 0.5 * log_error.sum((1, 2)) / cells
        return self.sc_weight * convergence + self.log_weight * log_l1

    def _window(self, win_length: int, like: torch.Tensor) -> torch.Tensor:
        key = (win_length, like.device, like.dtype)
        if key not in self._windows:
            self._windows[key] = torch.hann_window(win_length, dtype=like.dtype, device=like.device)
        return self._windows[key]


def scale_resolution(
    resolution: tuple[int, int, int], design_fs: int, fs: int
) -> tuple[int, int, int]:
    """(n_fft, hop_length, win_length) at `design_fs` -> the same durations in samples at `fs`."""
    if fs == design_fs:
        return resolution
    n_fft, hop_length, win_length = resolution
    ratio = fs / design_fs
    win_length = max(2, round(win_length * ratio))
    power = max(round(math.log2(n_fft * ratio)), math.ceil(math.log2(win_length)))
    return 2**power, max(1, round(hop_length * ratio)), win_length


def reflect_index(ilens: torch.Tensor, samples: int, edge: int) -> torch.Tensor:
    """Indices (B, samples + 2 edge) that reflect each utterance at its own two ends.

    Also right for utterances shorter than `edge`, which are reflected more than once.
    """
    position = torch.arange(-edge, samples + edge, device=ilens.device)
    last = (ilens - 1).clamp(min=1)[:, None]
    index = last - (position % (2 * last) - last).abs()
    return index.clamp(max=(ilens - 1)[:, None])


def stft_power(
    wav: torch.Tensor, n_fft: int, hop_length: int, window: torch.Tensor
) -> torch.Tensor:
    """Clamped power spectrogram (B, F, frames) of already padded waveforms (B, T)."""
    spectrum = torch.stft(
        wav,
        n_fft,
        hop_length,
        window.shape[0],
        window,
        center=False,
        return_complex=True,
    )
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=MIN_POWER)
