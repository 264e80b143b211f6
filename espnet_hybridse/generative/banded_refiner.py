"""The refiner on merged bands: smooth masks, and 48 kHz for little more than 16 kHz."""

import torch
from torch import Tensor, nn

from espnet_hybridse.generative.refiner import DualPathBlock
from espnet_hybridse.nn.band_unet import Down, Up, bounded, start_as_identity
from espnet_hybridse.nn.bands import Bands
from espnet_hybridse.nn.precision import in_float32
from espnet_hybridse.nn.spectrum import compress, expand, stack_features

BIN_HZ = 25.0
"""Distance of the bins of a 40-ms window."""
SINGLE_BINS = 64
"""Up to 1.6 kHz, as in the discriminative branch."""
ERB_STEP = 0.42
INPUTS = 3


class BandedRefiner(nn.Module):
    """Complex mask and additive term on a level-normalised spectrum, given the LM's states.

    The dual-path blocks, the cross-attention and the arguments are those of Refiner; what differs
    is our choice: bins are merged into bands before the first convolution, and what the decoder
    says of a band is spread over its bins without steps. The additive term joins in compressed
    spectra, where a network's small numbers are audible ones.

    Args:
        state_dim, channels, downs, blocks, hidden, heads, bidirectional, compression, mask_limit:
            see Refiner.
        residual: adds a predicted spectrum to the masked one.

    Raises:
        ValueError: an argument outside its range.
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
        self.compression, self.mask_limit, self.residual = compression, mask_limit, residual
        self.bands = Bands(SINGLE_BINS, ERB_STEP, BIN_HZ)
        sizes = [INPUTS, *[channels] * downs]
        # Two frames back and none ahead: padding behind an utterance reaches no valid frame.
        self.encoder = nn.ModuleList(
            Down(inputs, outputs, before=2, after=0)
            for inputs, outputs in zip(sizes, sizes[1:], strict=False)
        )
        self.blocks = nn.ModuleList(
            DualPathBlock(channels, hidden, state_dim, heads, bidirectional) for _ in range(blocks)
        )
        self.decoder = nn.ModuleList(Up(channels, channels) for _ in range(downs))
        self.head = nn.Linear(channels + INPUTS, 4 if residual else 2)
        start_as_identity(self.head, mask_limit)

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
        x = stack_features(compress(spectrum, self.compression), dim=2)  # (B, T, 3, F)
        merged = self.bands.merge(x).transpose(2, 3)  # (B, T, K, 3)
        x, levels = merged, []
        for down in self.encoder:
            levels.append(x)
            x = down(x)
        skip = x
        for block in self.blocks:
            x = block(x, ilens, states, slens)
        for up, level in zip(self.decoder, levels[::-1], strict=True):
            x = up(x + skip, level.shape[2])
            skip = level if level is not merged else 0.0
        with in_float32(x):
            x = self.head(torch.cat([x.float(), merged.float()], dim=-1)).transpose(2, 3)
            x = self.bands.spread(x, spectrum.shape[-1])  # (B, T, 2 or 4, F)
            refined = spectrum * bounded(torch.complex(x[:, :, 0], x[:, :, 1]), self.mask_limit)
            if not self.residual:
                return refined
            added = torch.complex(x[:, :, 2], x[:, :, 3])
            return expand(compress(refined, self.compression) + added, self.compression)
