"""Into and out of the fusion network by merged bands, in place of its strided convolutions."""

import torch
from torch import Tensor, nn

from espnet_hybridse.nn.band_unet import Down, Up
from espnet_hybridse.nn.bands import Bands

INPUTS = 3


class BandEncoder(nn.Module):
    """Features of a spectrum on bins to a quarter of their bands, for one input at a time."""

    def __init__(self, channels: int, bands: Bands):
        super().__init__()
        self.bands = bands
        self.down = nn.Sequential(Down(INPUTS, channels), Down(channels, channels))

    def forward(self, features: Tensor) -> Tensor:
        """(B, 3, T, F) -> (B, C, T, Q)."""
        return self.down(self.bands.merge(features).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BandDecoder(nn.Module):
    """Back to bins: two interpolations, then a layer that sees every input's bands once more.

    Args:
        channels: C.
        inputs: spectra that the network is given.
        bands: the encoder's.
    """

    def __init__(self, channels: int, inputs: int, bands: Bands):
        super().__init__()
        self.bands = bands
        self.up = nn.ModuleList([Up(channels, channels), Up(channels, channels)])
        self.fine = nn.Sequential(
            nn.Conv2d(channels + INPUTS * inputs, channels, (1, 3), padding=(0, 1)), nn.PReLU()
        )
        self.out = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor, features: list[Tensor]) -> Tensor:
        """(B, C, T, Q) and the inputs' features (B, 3, T, F) -> logits (B, 1, T, F)."""
        merged = torch.cat([self.bands.merge(part) for part in features], dim=1)
        count = merged.shape[-1]
        x = self.up[0](x.permute(0, 2, 3, 1), (count + 1) // 2)
        x = self.up[1](x, count).permute(0, 3, 1, 2)
        x = self.out(self.fine(torch.cat([x, merged.to(x.dtype)], dim=1)))
        return self.bands.spread(x.float(), features[0].shape[-1])
