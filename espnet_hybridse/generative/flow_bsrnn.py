"""A band-split network that carries noisy speech to clean along a flow: the URGENT 2026 baseline's.

Parameter names are those of the published checkpoint (`flow_bsrnn.ckpt`), which
:mod:`espnet_hybridse.model.published` reads. Here it only enhances; it is trained where it is from.
"""

from collections import OrderedDict
from math import pi

import torch
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch import Tensor, nn

from espnet_hybridse.nn.batching import by_length

BANDS = {
    481: (5, *[4] * 19, *[10] * 6, *[40] * 7, 60),
    769: (5, *[4] * 26, *[10] * 10, *[50] * 10, 60),
}
"""Bins of the STFT at 48 kHz -> bins of each band."""
INNER = 16
"""Channels between the bands' last layers and the convolution over all bins."""


class FlowBSRNN(TFGridNetV3):
    """Separator that integrates a learned velocity from noisy to clean with Euler's steps.

    It is a TFGridNetV3 by name only: stock ESPnet passes `fs` to encoder and decoder for instances
    of that class. Spectra are compressed by the encoder (`spec_transform_type: exponent`).

    Args:
        input_dim: bins at 48 kHz: 769 (32 ms) or 481 (20 ms).
        num_channels: N of the network.
        num_layers: pairs of recurrent layers, over time and over bands.
        steps: evaluations of the network.
        start, end: time at which the flow starts and at which its last step begins.
        sigma: standard deviation of the noise at the start.
        seed: of that noise, which is the same for every utterance: alone and in a batch.

    Raises:
        ValueError: bands are defined for no such `input_dim`, or steps < 1.
    """

    lengths_on_cpu = True

    def __init__(
        self,
        input_dim: int,
        num_channels: int = 384,
        num_layers: int = 6,
        steps: int = 15,
        start: float = 1.0,
        end: float = 0.03,
        sigma: float = 0.5,
        seed: int = 0,
    ):
        nn.Module.__init__(self)
        if input_dim not in BANDS:
            raise ValueError(f"input_dim={input_dim} bins at 48 kHz: bands are for {list(BANDS)}")
        if steps < 1:
            raise ValueError(f"steps={steps} must be at least 1")
        self.steps, self.start, self.end, self.sigma, self.seed = steps, start, end, sigma, seed
        widths = BANDS[input_dim]
        self.band_split_y = BandSplit(widths, num_channels)
        self.band_split_x = BandSplit(widths, num_channels)
        self.condition_fc = nn.Linear(2 * num_channels, num_channels)
        sizes = [num_channels] * num_layers
        self.t_cond = nn.ModuleList(TimeEmbedding(n // 2) for n in sizes)
        self.norm_time = nn.ModuleList(nn.GroupNorm(1, n) for n in sizes)
        self.rnn_time = nn.ModuleList(blstm(n) for n in sizes)
        self.fc_time = nn.ModuleList(nn.Linear(4 * n, n) for n in sizes)
        self.norm_freq = nn.ModuleList(nn.GroupNorm(1, n) for n in sizes)
        self.rnn_freq = nn.ModuleList(blstm(n) for n in sizes)
        self.fc_freq = nn.ModuleList(nn.Linear(4 * n, n) for n in sizes)
        self.grad_decoder = BandMerge(widths, num_channels)

    @property
    def num_spk(self) -> int:
        return 1

    def forward(
        self, input: Tensor, ilens: Tensor, additional: dict | None = None
    ) -> tuple[list[Tensor], Tensor, OrderedDict]:
        """Enhance a batch of compressed spectra (B, T, F): [(B, T, F)], ilens, nothing more."""
        return [by_length(lambda part, rows: self.flow(part), input, ilens)], ilens, OrderedDict()

    def flow(self, noisy: Tensor) -> Tensor:
        """Carry (B, T, F) complex spectra of one length to clean."""
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(noisy.shape[1:], generator=generator, dtype=torch.complex64)
        x = noisy + self.sigma * noise.to(noisy)
        times = torch.linspace(self.start, self.end, self.steps).tolist()
        for time, following in zip(times, [*times[1:], 0.0], strict=True):
            x = x + (time - following) * self.gradient(x, noisy, time)
        return x

    def gradient(self, x: Tensor, noisy: Tensor, time: float) -> Tensor:
        """Return the direction towards clean of (B, T, F) `x`, given the noisy spectra."""
        split = [self.band_split_x(x), self.band_split_y(noisy)]
        z = self.condition_fc(torch.cat(split, -1)).permute(0, 3, 1, 2)  # (B, N, T, K)
        b, n, t, k = z.shape
        at = torch.full((1,), time, device=z.device)
        for layer in range(len(self.rnn_time)):
            y = self.norm_time[layer](z) + self.t_cond[layer](at)[..., None, None]
            y = y.permute(0, 3, 2, 1).reshape(b * k, t, n)
            y = self.fc_time[layer](self.rnn_time[layer](y)[0])
            z = z + y.view(b, k, t, n).permute(0, 3, 2, 1)
            y = self.norm_freq[layer](z).permute(0, 2, 3, 1).reshape(b * t, k, n)
            y = self.fc_freq[layer](self.rnn_freq[layer](y)[0])
            z = z + y.view(b, t, k, n).permute(0, 3, 1, 2)
        mask, residual = self.grad_decoder(z, x.shape[-1])
        return mask * x + residual


class BandSplit(nn.Module):
    """Each band's bins to one vector of N: (B, T, F) complex -> (B, T, K, N)."""

    def __init__(self, widths: tuple[int, ...], channels: int):
        super().__init__()
        self.widths = widths
        self.norm = nn.ModuleList(nn.GroupNorm(1, 2 * width) for width in widths)
        self.fc = nn.ModuleList(nn.Conv1d(2 * width, channels, 1) for width in widths)

    def forward(self, spectrum: Tensor) -> Tensor:
        x = torch.view_as_real(spectrum)
        bands, first = [], 0
        for width, norm, fc in zip(self.widths, self.norm, self.fc, strict=True):
            if first >= x.shape[2]:
                break  # bands above the input's Nyquist frequency are left out
            band = x[:, :, first : first + width]
            band = nn.functional.pad(band, (0, 0, 0, width - band.shape[2]))
            bands.append(fc(norm(band.flatten(2).transpose(1, 2))))
            first += width
        return torch.stack(bands, 2).permute(0, 3, 2, 1)


class TimeEmbedding(nn.Module):
    """Random Fourier features of the flow's time: (B,) -> (B, 2 size)."""

    def __init__(self, size: int):
        super().__init__()
        self.W = nn.Parameter(torch.randn(size), requires_grad=False)

    def forward(self, time: Tensor) -> Tensor:
        turns = 2 * pi * time[:, None] * self.W
        return torch.cat([turns.sin(), turns.cos()], -1)


class BandMerge(nn.Module):
    """From vectors of the bands to a complex mask and a complex residual of every bin."""

    def __init__(self, widths: tuple[int, ...], channels: int):
        super().__init__()
        self.widths = widths
        self.mlp_mask = nn.ModuleList(self._band(channels, width) for width in widths)
        self.mlp_residual = nn.ModuleList(self._band(channels, width) for width in widths)
        self.conv_after_mask = nn.Sequential(nn.Conv2d(INNER, 4, 5, padding=2), nn.GLU(1))
        self.conv_after_residual = nn.Sequential(nn.Conv2d(INNER, 4, 5, padding=2), nn.GLU(1))

    @staticmethod
    def _band(channels: int, width: int) -> nn.Module:
        out = nn.Conv1d(channels, INNER * width, 1)
        return nn.Sequential(nn.GroupNorm(1, channels), out, nn.Tanh())

    def forward(self, z: Tensor, bins: int) -> tuple[Tensor, Tensor]:
        """(B, N, T, K) -> two of (B, T, bins) complex."""
        parts = []
        for bands, conv in (
            (self.mlp_mask, self.conv_after_mask),
            (self.mlp_residual, self.conv_after_residual),
        ):
            # One band's channels are (INNER, width) -> all bands' (B, INNER, bins, T).
            whole = [
                band(z[..., k]).unflatten(1, (INNER, -1))
                for k, band in zip(range(z.shape[3]), bands, strict=False)
            ]
            out = conv(torch.cat(whole, 2))[:, :, :bins]
            parts.append(torch.view_as_complex(out.permute(0, 3, 2, 1).contiguous()))
        return parts[0], parts[1]


def blstm(size: int) -> nn.LSTM:
    """Recurrent layer of both directions, twice as wide as its input."""
    return nn.LSTM(size, 2 * size, batch_first=True, bidirectional=True)
