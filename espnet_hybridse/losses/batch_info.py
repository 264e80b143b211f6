"""What a waveform criterion has to know about a batch beside (ref, inf): its rate and lengths."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torchaudio.functional import resample


class BatchInfo:
    """Mixin of the criterions whose result depends on the sampling rate or on the padding.

    ESPnet calls a criterion as `criterion(ref, inf)` and passes neither the rate nor the valid
    lengths. The contract here: the model calls `set_batch(fs, ilens, mix)` before every use of the
    criterion, and the values hold until the next call. With the defaults (16000 Hz, no padding)
    the criterions also work in stock ESPnet, whose batches are then taken as 16 kHz audio.

    Attributes:
        fs: sampling rate of the next batch in Hz.
        ilens: (B,) valid samples of each utterance, or None when nothing is padded.
        mix: (B, T) degraded speech, or None where it is not known.
    """

    fs: int = 16000
    ilens: torch.Tensor | None = None
    mix: torch.Tensor | None = None

    def set_batch(
        self, fs: int, ilens: torch.Tensor | None = None, mix: torch.Tensor | None = None
    ) -> None:
        """Announce the next batch.

        Args:
            fs: sampling rate of all its utterances in Hz.
            ilens: (B,) valid samples, best on the CPU; None when nothing is padded.
            mix: (B, T) degraded speech; its level is all that is left to judge an estimate by
                where the reference is silent.
        """
        self.fs = int(fs)
        self.ilens = None if ilens is None else ilens.detach()
        self.mix = None if mix is None else mix.detach()

    def host_lengths(self, wav: torch.Tensor) -> torch.Tensor:
        """Valid samples (B,) of (B, T) on the CPU, for what Python has to decide by them."""
        return torch.full((len(wav),), wav.shape[1]) if self.ilens is None else self.ilens.cpu()

    def batch_lengths(self, ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
        """Check the shapes and return the valid samples (B,), int64, on the waveforms' device.

        Raises:
            ValueError: `ref` and `inf` are not two (B, T) of one shape, or `ilens` is not the
                (B,) of this batch, each between 1 and T.
        """
        if ref.dim() != 2 or ref.shape != inf.shape:
            raise ValueError(
                f"ref {tuple(ref.shape)} and inf {tuple(inf.shape)} must be waveforms of one "
                "shape (B, T); cut or pad the estimate to the reference's length"
            )
        batch, samples = ref.shape
        if self.ilens is None:
            return torch.full((batch,), samples, device=ref.device)
        ilens = self.ilens.to(torch.long)
        if ilens.shape != (batch,):
            raise ValueError(
                f"ilens {tuple(ilens.shape)} does not belong to a batch of {batch}; call "
                "set_batch(fs, ilens) before every batch"
            )
        if samples == 0 or bool(((ilens < 1) | (ilens > samples)).any()):
            raise ValueError(f"ilens {ilens.tolist()} must lie between 1 and T={samples} samples")
        # Checked where they are: reading them from a GPU would make training wait for it.
        return ilens.to(ref.device, non_blocking=True)


def resampled_lengths(ilens: torch.Tensor, fs: int, target_fs: int = 16000) -> torch.Tensor:
    """Samples that :func:`resample_valid` gives for so many; torchaudio rounds up."""
    return ilens if fs == target_fs else (ilens * target_fs + fs - 1) // fs


def length_mask(lengths: torch.Tensor, size: int, dtype: torch.dtype) -> torch.Tensor:
    """1 on the first `lengths[b]` of `size` positions, 0 after them: (B,) -> (B, size)."""
    positions = torch.arange(size, device=lengths.device)
    return (positions < lengths[:, None]).to(dtype)


def without_autocast(wav: torch.Tensor) -> AbstractContextManager:
    """Switch autocast off where `wav` lives: losses are made in the type that they are given."""
    kind = wav.device.type
    available = torch.amp.autocast_mode.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if available else nullcontext()


def float_wave(wav: torch.Tensor) -> torch.Tensor:
    """Half precision to float32: no FFT is made in half precision. float64 stays."""
    return wav.float() if wav.dtype in (torch.float16, torch.bfloat16) else wav


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
    lengths = resampled_lengths(ilens, fs, target_fs)
    # Its filter is a convolution, which an ambient autocast would make in half precision.
    with without_autocast(wav):
        wav = resample(wav, fs, target_fs)
    return wav * length_mask(lengths, wav.shape[1], wav.dtype), lengths
