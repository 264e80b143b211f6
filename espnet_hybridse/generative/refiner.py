"""The refiner: a dual-path network on the degraded spectrum, steered by the language model.

Paper section 2.2: magnitude, real and imaginary part; convolutions that down-sample frequency;
dual-path blocks with cross-attention to the LM's last-layer states after the inter-frame LSTM;
a convolutional decoder; a complex mask on the degraded spectrum. Sizes, norms and skips are our
choice. Nothing depends on the number of bins, and every bin is 25 Hz at every rate.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_hybridse.generative.cross_attention import CrossAttention
from espnet_hybridse.nn.batching import by_length, by_row_parts
from espnet_hybridse.nn.precision import in_float32, run_lstm
from espnet_hybridse.nn.spectrum import compress


class Refiner(nn.Module):
    """Complex mask on a level-normalised spectrum, given states of the same 20 ms grid.

    Args:
        state_dim: size of the states, H.
        channels: feature channels C after each convolution.
        downs: convolutions of stride 2 along frequency; each halves the bins.
        blocks: dual-path blocks.
        hidden: LSTM units, per direction where there are two.
        heads: attention heads, a divisor of `channels` with channels / heads even.
        bidirectional: inter-frame LSTM in both directions (the paper says LSTM).
        compression: exponent on the magnitude of the input features. 0.3 lets weak speech weigh
            as much as it is heard; the mask itself acts on the linear spectrum.
        mask_limit: bound of the mask's magnitude, above 1. Starts at 1: the network begins as
            identity.
        residual: adds a predicted spectrum to the masked one. A mask cannot fill what is empty:
            lost packets, missing bands (our choice, off as in the paper).
    """

    def __init__(
        self,
        state_dim: int,
        channels: int = 64,
        downs: int = 3,
        blocks: int = 4,
        hidden: int = 128,
        heads: int = 4,
        bidirectional: bool = False,
        compression: float = 0.3,
        mask_limit: float = 3.0,
        residual: bool = False,
    ):
        super().__init__()
        if mask_limit <= 1.0:
            raise ValueError(f"mask_limit={mask_limit} must be above 1, the identity")
        if not 0.0 < compression <= 1.0:
            raise ValueError(f"compression={compression} must lie in (0, 1]")
        if downs < 1 or blocks < 1:
            raise ValueError(f"downs={downs} and blocks={blocks} must be at least 1")
        self.compression, self.mask_limit = compression, mask_limit
        self.encoder = nn.ModuleList(_Down(channels if i else 3, channels) for i in range(downs))
        self.blocks = nn.ModuleList(
            DualPathBlock(channels, hidden, state_dim, heads, bidirectional) for _ in range(blocks)
        )
        outputs = [channels] * (downs - 1) + [4 if residual else 2]
        self.decoder = nn.ModuleList(_Up(channels, size) for size in outputs)
        self._start_as_identity()

    def _start_as_identity(self) -> None:
        last = self.decoder[-1].conv
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[0] = self.mask_limit * math.atanh(1.0 / self.mask_limit)

    def forward(self, spectrum: Tensor, ilens: Tensor, states: Tensor, slens: Tensor) -> Tensor:
        """Refine a batch.

        Args:
            spectrum: (B, T, F) complex, about unit level, any F.
            ilens: (B,) valid frames; later ones do not influence them.
            states: (B, N, H), state n beside frame n.
            slens: (B,) valid states.

        Returns:
            (B, T, F) complex64.
        """
        x = compress(spectrum, self.compression)
        x = torch.stack([x.abs(), x.real, x.imag], dim=1)  # (B, 3, T, F)
        skips: list[Tensor] = []
        widths: list[int] = []
        for down in self.encoder:
            widths.append(x.size(-1))
            x = down(x)
            skips.append(x)
        x = x.permute(0, 2, 3, 1)  # (B, T, F', C)
        for block in self.blocks:
            x = block(x, ilens, states, slens)
        x = x.permute(0, 3, 1, 2)
        *inner, last = zip(self.decoder, skips[::-1], widths[::-1], strict=True)
        for up, skip, width in inner:
            x = up(x + skip, width)
        up, skip, width = last
        with in_float32(x):
            x = up(x.float() + skip.float(), width)
        refined = spectrum * self._mask(x[:, 0], x[:, 1])
        return refined + torch.complex(x[:, 2], x[:, 3]) if x.size(1) == 4 else refined

    def _mask(self, real: Tensor, imag: Tensor) -> Tensor:
        """Complex mask whose magnitude is bounded smoothly, its phase kept."""
        magnitude = (real.square() + imag.square() + 1e-8).sqrt()
        gain = self.mask_limit * torch.tanh(magnitude / self.mask_limit) / magnitude
        return torch.complex(real * gain, imag * gain)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, T, F): per bin, so padding and rate do not matter."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Down(nn.Module):
    """Convolution over two frames (this and the one before) and five bins, stride 2 in bins."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (2, 5), stride=(1, 2), padding=(0, 2))
        self.norm = ChannelNorm(outputs)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        # Causal in time: frames past the end of an utterance then reach no valid frame.
        return self.act(self.norm(self.conv(F.pad(x, (0, 0, 1, 0)))))


class _Up(nn.Module):
    """Transposed convolution that undoes one _Down; with 2 or 4 outputs it is the last one."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, (2, 5), stride=(1, 2), padding=(0, 2))
        self.inner = outputs == inputs
        if self.inner:
            self.norm = ChannelNorm(outputs)
            self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, width: int) -> Tensor:
        frames = x.size(2)
        x = self.conv(x, output_size=(frames + 1, width))[:, :, :frames]
        return self.act(self.norm(x)) if self.inner else x


class DualPathBlock(nn.Module):
    """Intra-frame BLSTM, inter-frame LSTM, cross-attention; each with norm and residual."""

    def __init__(self, channels: int, hidden: int, state_dim: int, heads: int, bidirectional: bool):
        super().__init__()
        self.intra = _Recurrent(channels, hidden, bidirectional=True)
        self.inter = _Recurrent(channels, hidden, bidirectional)
        self.cross = CrossAttention(channels, state_dim, heads)

    def start_as_identity(self) -> None:
        """Zero what the three parts add, in place: the block returns its input until trained."""
        for last in (self.intra.project, self.inter.project, self.cross.out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, ilens: Tensor, states: Tensor, slens: Tensor) -> Tensor:
        b, t, f, c = x.shape
        x = x + self.intra(x.reshape(b * t, f, c)).view(b, t, f, c)
        if self.inter.lstm.bidirectional:
            x = x + by_length(lambda part, rows: self._over_time(part), x, ilens)
        else:
            x = x + self._over_time(x)
        return x + self.cross(x, states, slens)

    def _over_time(self, x: Tensor) -> Tensor:
        b, t, f, c = x.shape
        x = self.inter(x.transpose(1, 2).reshape(b * f, t, c))
        return x.view(b, f, t, c).transpose(1, 2)


class _Recurrent(nn.Module):
    """LayerNorm, LSTM, projection back: (rows, steps, C) -> (rows, steps, C)."""

    def __init__(self, channels: int, hidden: int, bidirectional: bool):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.lstm = nn.LSTM(channels, hidden, batch_first=True, bidirectional=bidirectional)
        self.project = nn.Linear(hidden * (2 if bidirectional else 1), channels)

    def forward(self, x: Tensor) -> Tensor:
        return by_row_parts(self._rows, x, x.shape[1] * self.project.in_features)

    def _rows(self, x: Tensor) -> Tensor:
        return self.project(run_lstm(self.lstm, self.norm(x)))
