"""U-Net along merged bands: its steps down and up, and the complex mask at its end."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_hybridse.nn.spectrum import power


class Down(nn.Module):
    """Convolution over neighbouring frames and five bands, every second band; norm, activation.

    Channel-last (B, T, K, C) in and out: what convolutions take as channel-last memory.

    Args:
        inputs, outputs: channels.
        before, after: frames that each frame sees beside itself. With `after` 0 what follows the
            end of an utterance does not reach its frames.
    """

    def __init__(self, inputs: int, outputs: int, before: int = 1, after: int = 1):
        super().__init__()
        self.margin = (before, after)
        kernel = (before + 1 + after, 5)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=(1, 2), padding=(0, 2))
        self.norm = nn.LayerNorm(outputs)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, K, inputs) -> (B, T, ceil(K / 2), outputs)."""
        x = F.pad(x, (0, 0, 0, 0, *self.margin))
        x = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return prelu(self.norm(x), self.act)


class Up(nn.Module):
    """Interpolation back to the bands that a Down had, and a convolution over three of them.

    Unlike a transposed convolution it treats even and odd bands alike: no comb in the mask.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (1, 3), padding=(0, 1))
        self.norm = nn.LayerNorm(outputs)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, bands: int) -> Tensor:
        """(B, T, Q, inputs) -> (B, T, bands, outputs), bands 2 Q or 2 Q - 1."""
        # Band q of a Down is centred on band 2 q of its input.
        after = torch.cat([x[:, :, 1:], x[:, :, -1:]], dim=2)
        x = torch.stack([x, 0.5 * (x + after)], dim=3).flatten(2, 3)[:, :, :bands]
        x = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return prelu(self.norm(x), self.act)


def prelu(x: Tensor, act: nn.PReLU) -> Tensor:
    """PReLU over the last dimension; PyTorch's own takes the second for the channels."""
    return F.prelu(x.flatten(0, -2), act.weight.to(x.dtype)).view_as(x)


def bounded(mask: Tensor, limit: float) -> Tensor:
    """Bound the magnitude of a complex mask (…) below `limit`, smoothly, its phase kept."""
    magnitude = (power(mask) + 1e-8).sqrt()
    return mask * (limit * torch.tanh(magnitude / limit) / magnitude)


def start_as_identity(head: nn.Linear, limit: float, taps: int = 1) -> None:
    """Let the last layer begin with a mask of 1 on the middle tap and little else.

    Outputs are pairs of real and imaginary part: `taps` masks, then perhaps an additive term. What
    is added in compressed spectra starts larger than the masks' deviations: near zero its magnitude
    would have no gradient where the input is empty, which is where it is needed.

    Args:
        head: its weights are scaled and its bias set, in place.
        limit: of :func:`bounded`, above 1.
        taps: masks; those of the frames before and after start near 0.
    """
    with torch.no_grad():
        head.weight[: 2 * taps].mul_(0.1)
        head.weight[2 * taps :].mul_(0.3)
        head.bias.zero_()
        head.bias[taps // 2 * 2] = limit * math.atanh(1.0 / limit)
