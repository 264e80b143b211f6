"""Differentiable resampling of a batch to the 16 kHz that the perceptual losses listen at."""

import torch
from torchaudio.functional import resample

from espnet_hybridse.losses.batch_info import length_mask


def resample_valid(
    wav: torch.Tensor, ilens: torch.Tensor, fs: int, target_fs: int = 16000
) -> tuple[torch.Tensor, torch.Tensor]:
    """Resample the valid samples; what lies behind them is set to zero first, so none leaks in.

    Args:
        wav: (B, T) at `fs` Hz.
        ilens: (B,) valid samples.

    Returns:
        (B, T') at `target_fs` Hz and its valid samples (B,). The gradient reaches `wav`.
    """
    wav = wav * length_mask(ilens, wav.shape[1], wav.dtype)
    if fs == target_fs:
        return wav, ilens
    lengths = (ilens * target_fs + fs - 1) // fs  # torchaudio rounds up
    # Its filter is a convolution, which an ambient autocast would make in half precision.
    with torch.autocast(wav.device.type, enabled=False):
        wav = resample(wav, fs, target_fs)
    return wav * length_mask(lengths, wav.shape[1], wav.dtype), lengths
