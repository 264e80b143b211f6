"""STFT encoder and decoder of every model: one window in seconds at all rates, no frame cut off.

ESPnet's own pair gives as many frames as whole hops fit into the audio, so that the last samples
lie under the falling edge of a single window, and what a network changes there is divided by almost
nothing. Here the audio is extended to whole 20-ms frames first; for such lengths both pairs give
the same bits. Stock ESPnet and :class:`~espnet_hybridse.inference.enhancer.Enhancer` call the same
pair, and so give the same samples of any file.
"""

import torch
from espnet2.enh.decoder.abs_decoder import AbsDecoder
from espnet2.enh.encoder.abs_encoder import AbsEncoder
from torch import Tensor

from espnet_hybridse.nn.precision import in_float32
from espnet_hybridse.nn.spectrum import overlapped

TRANSFORMS = (None, "none", "exponent", "log")


def whole_frames(samples, fs: int, hop: int):
    """Return how many samples to process for `samples` of audio at `fs` Hz, such that none is cut.

    Whole 20-ms frames, and enough of them for the longest window. Where the hop divides no frame
    (220 samples at 22.05 kHz), one more, if the last samples would lie under a single window.

    Args:
        samples: one length, or a tensor of several, which stays where it is.
        fs: rate in Hz.
        hop: of the transform, in samples.
    """
    frames = -(-samples * 50 // fs)
    frames = frames.clamp(min=4) if isinstance(frames, Tensor) else max(frames, 4)
    frames = frames + (frames * fs // 50 % hop > hop // 2)
    return frames * fs // 50


class _Grid(torch.nn.Module):
    """The arguments of ESPnet's STFTEncoder and STFTDecoder, and what they are at a rate.

    Args:
        n_fft: size of the transform at `default_fs`.
        win_length: of the window at `default_fs`; null takes n_fft.
        hop_length: at `default_fs`.
        window: name of a torch window.
        center, normalized, onesided: as in torch.stft.
        use_builtin_complex: ignored; spectra are torch's complex tensors.
        default_fs: the rate in Hz that the sizes are meant at.
        spec_transform_type, spec_factor, spec_abs_exponent: ESPnet's compression of spectra.

    Raises:
        ValueError: an unknown window or transform.
    """

    def __init__(
        self,
        n_fft: int = 512,
        win_length: int | None = None,
        hop_length: int = 128,
        window: str | None = "hann",
        center: bool = True,
        normalized: bool = False,
        onesided: bool = True,
        use_builtin_complex: bool = True,
        default_fs: int = 16000,
        spec_transform_type: str | None = None,
        spec_factor: float = 0.15,
        spec_abs_exponent: float = 0.5,
    ):
        super().__init__()
        if window is not None and not hasattr(torch, f"{window}_window"):
            raise ValueError(f"window={window!r}: torch has no {window}_window")
        if spec_transform_type not in TRANSFORMS:
            raise ValueError(f"spec_transform_type={spec_transform_type!r} is none of {TRANSFORMS}")
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length or n_fft, hop_length
        self.window, self.center, self.default_fs = window, center, default_fs
        self.options = {"center": center, "normalized": normalized, "onesided": onesided}
        self.transform = spec_transform_type
        self.factor, self.exponent = spec_factor, spec_abs_exponent

    def sizes(self, fs: int | None) -> tuple[int, int, int]:
        """Return transform, hop and window in samples at `fs` Hz, floored as ESPnet floors them."""
        fs = fs or self.default_fs
        return tuple(
            size * fs // self.default_fs for size in (self.n_fft, self.hop_length, self.win_length)
        )

    def made_window(self, size: int, like: Tensor) -> Tensor | None:
        """Return the window of `size` samples, of the type and on the device of `like`."""
        if self.window is None:
            return None
        make = getattr(torch, f"{self.window}_window")
        return make(size, dtype=like.dtype, device=like.device)


class SFIEncoder(_Grid, AbsEncoder):
    """Drop-in for ESPnet's STFTEncoder whose last frame is whole; arguments as of STFTEncoder."""

    lengths_on_cpu = True
    """Lengths may lie on another device than the waveforms."""

    @property
    def output_dim(self) -> int:
        """Bins at `default_fs`."""
        return self.n_fft // 2 + 1 if self.options["onesided"] else self.n_fft

    def whole(self, samples, fs: int | None = None):
        """Return the length, or lengths, to which audio of `samples` is extended."""
        return whole_frames(samples, fs or self.default_fs, self.sizes(fs)[1])

    def forward(self, input: Tensor, ilens: Tensor, fs: int | None = None) -> tuple[Tensor, Tensor]:
        """Transform a batch of one rate.

        Args:
            input: (B, S) or (B, S, C) waveforms.
            ilens: (B,) samples.
            fs: rate in Hz; None takes `default_fs`.

        Returns:
            (B, T, F) or (B, T, C, F) complex with zeros past a row's end, and (B,) frames.
        """
        n_fft, hop, size = self.sizes(fs)
        rows = input.transpose(1, 2).flatten(0, 1) if input.dim() == 3 else input
        rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        missing = self.whole(rows.shape[1], fs) - rows.shape[1]
        rows = torch.nn.functional.pad(rows, (0, missing))
        with in_float32(rows):
            window = self.made_window(size, rows)
            spectrum = torch.stft(
                rows, n_fft, hop, size, window, return_complex=True, **self.options
            ).transpose(1, 2)
        # Centred, torch.stft reflects n_fft // 2 samples at either end.
        margin = n_fft % 2 if self.center else n_fft
        olens = (self.whole(ilens, fs) - margin) // hop + 1
        if input.dim() == 3:
            spectrum = spectrum.unflatten(0, (len(input), -1)).transpose(1, 2)
        # Lengths on a GPU are not read: it would have to be waited for.
        if olens.device.type != "cpu" or int(olens.min()) < spectrum.shape[1]:
            past = torch.arange(spectrum.shape[1], device=olens.device) >= olens[:, None]
            past = past.to(spectrum.device)[(..., *[None] * (spectrum.dim() - 2))]
            spectrum = spectrum.masked_fill(past, 0.0)
        return self._compressed(spectrum), olens

    def _compressed(self, spectrum: Tensor) -> Tensor:
        if self.transform in (None, "none"):
            return spectrum
        level = spectrum.abs()
        level = level**self.exponent if self.transform == "exponent" else torch.log1p(level)
        return self.factor * torch.polar(level, spectrum.angle())


class SFIDecoder(_Grid, AbsDecoder):
    """Drop-in for ESPnet's STFTDecoder; arguments as of STFTDecoder."""

    def forward(self, input: Tensor, ilens: Tensor, fs: int | None = None) -> tuple[Tensor, Tensor]:
        """Transform a batch of one rate back.

        Args:
            input: (B, T, F) or (B, T, C, F) complex.
            ilens: (B,) samples wanted.
            fs: rate in Hz; None takes `default_fs`.

        Returns:
            (B, S) or (B, S, C) waveforms as long as the longest, and `ilens`.

        Raises:
            TypeError: `input` is not complex.
        """
        if not torch.is_complex(input):
            raise TypeError(f"the STFT decoder needs complex spectra, got {input.dtype}")
        n_fft, hop, size = self.sizes(fs)
        rows = input.transpose(1, 2).flatten(0, 1) if input.dim() == 4 else input
        rows = rows.cfloat() if rows.dtype == torch.complex32 else rows
        with in_float32(rows):
            rows = self._expanded(rows)
            window = self.made_window(size, rows.real)
            length, plain = int(ilens.max()), self.options["onesided"] and size == n_fft
            if plain and window is not None and not self.options["normalized"] and 2 * hop <= size:
                wave = overlapped(rows, hop, window, length, self.center)
            else:
                wave = torch.istft(
                    rows.transpose(1, 2), n_fft, hop, size, window, length=length, **self.options
                )
        if input.dim() == 4:
            wave = wave.unflatten(0, (len(input), -1)).transpose(1, 2)
        return wave, ilens

    def _expanded(self, spectrum: Tensor) -> Tensor:
        if self.transform in (None, "none"):
            return spectrum
        level = spectrum.abs() / self.factor
        level = level ** (1 / self.exponent) if self.transform == "exponent" else level.expm1()
        return torch.polar(level, spectrum.angle())
