"""TF-GridNet-SFI on merged bands: a U-Net along frequency around a few grid blocks."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch import Tensor, nn

from espnet_hybridse.discriminative.banded_block import BandedBlock
from espnet_hybridse.nn.band_unet import Down, Up, bounded, start_as_identity
from espnet_hybridse.nn.bands import Bands
from espnet_hybridse.nn.batching import by_length, each_alone
from espnet_hybridse.nn.precision import autocast, in_float32
from espnet_hybridse.nn.spectrum import compress, expand, rms_normalise, stack_features

INPUTS = 3
"""Features of a bin or band: compressed magnitude, real and imaginary part."""


class TFGridNetBands(TFGridNetV3):
    """The small network of the discriminative branch (paper section 2.1, shape our choice).

    Bins of 50 Hz are merged into bands with fixed edges in Hz, so that one set of weights serves
    every rate and 48 kHz costs little more than 16 kHz. Two overlapping strided convolutions leave
    a quarter of the bands to the grid blocks; interpolation with skips comes back. A bounded
    complex mask per band, on this frame and its neighbours, and a small additive term (a mask
    cannot fill what is empty) are spread over the bins without steps. It is a TFGridNetV3 by name
    only, as TFGridNetSFI is, so that stock ESPnet passes `fs` to encoder and decoder.

    Args:
        input_dim: not used; ESPnet passes the encoder's output size.
        channels: C of the grid blocks.
        hidden: LSTM units along time, per direction.
        band_hidden: LSTM units along bands, per direction; null takes `hidden`.
        n_layers: grid blocks.
        bidirectional: LSTM along time in both directions.
        attention: of every block: "none", "time" or "bands", see BandedBlock.
        n_head: attention heads.
        recur_bands: LSTM along bands; without it only attention joins the bands.
        cell: "lstm" or "gru".
        single_bins, erb_step: see Bands.
        taps: frames that the mask weighs together, an odd number: this one and its neighbours.
        detail_channels: of two small convolutions on the bins below `detail_hz`, which lend the
            bands' mask the resolution of a bin; 0 leaves them out.
        detail_hz: upper frequency of these convolutions.
        compression: exponent on the magnitude of the input features.
        mask_limit: bound of the mask's magnitude, above 1. Masks start at 1: the network begins
            as identity.
        amp_dtype: see TFGridNetSFI. The last layer, norms and spectra stay in float32.

    Raises:
        ValueError: sizes that make no network; the message says which and what is accepted.
    """

    def __init__(
        self,
        input_dim: int,
        channels: int = 40,
        hidden: int = 64,
        band_hidden: int | None = None,
        n_layers: int = 2,
        bidirectional: bool = True,
        attention: str = "none",
        n_head: int = 4,
        recur_bands: bool = True,
        cell: str = "lstm",
        single_bins: int = 32,
        erb_step: float = 0.42,
        taps: int = 1,
        detail_channels: int = 0,
        detail_hz: float = 8000.0,
        compression: float = 0.3,
        mask_limit: float = 2.0,
        amp_dtype: str | None = None,
    ):
        nn.Module.__init__(self)
        if not 0.0 < compression <= 1.0:
            raise ValueError(f"compression={compression} must lie in (0, 1]")
        if mask_limit <= 1.0:
            raise ValueError(f"mask_limit={mask_limit} must be above 1, the identity")
        if taps < 1 or taps % 2 == 0:
            raise ValueError(f"taps={taps} must be an odd number of frames: 1, 3, 5")
        self.compression, self.mask_limit, self.taps = compression, mask_limit, taps
        self.amp_dtype = amp_dtype
        self.bands = Bands(single_bins, erb_step)
        half = max(channels // 2, 8)
        self.down = nn.ModuleList([Down(INPUTS, half), Down(half, channels)])
        self.blocks = nn.ModuleList(
            BandedBlock(
                channels,
                hidden,
                band_hidden or hidden,
                bidirectional,
                attention,
                n_head,
                recur_bands,
                cell,
            )
            for _ in range(n_layers)
        )
        self.up = nn.ModuleList([Up(channels, half), Up(half, half)])
        self.head = nn.Linear(half + INPUTS, self.parts)
        self.detail = _Detail(half, detail_channels, self.parts) if detail_channels else None
        self.detail_bins = int(detail_hz // 50) + 1
        start_as_identity(self.head, mask_limit, taps)

    lengths_on_cpu = True

    @property
    def parts(self) -> int:
        """Real numbers of a band: a complex mask per tap and a complex additive term."""
        return 2 * self.taps + 2

    @property
    def num_spk(self) -> int:
        return 1

    def forward(
        self, input: Tensor, ilens: Tensor, additional: dict | None = None
    ) -> tuple[list[Tensor], Tensor, OrderedDict]:
        """Enhance a batch of spectra.

        Args:
            input: (B, T, F) complex, any F of the seven rates.
            ilens: (B,) valid frames; padding does not influence them.
            additional: not used.

        Returns:
            [(B, T, F)], ilens, an empty OrderedDict.
        """
        enhanced = by_length(lambda part, rows: each_alone(self._enhance, part), input, ilens)
        return [enhanced], ilens, OrderedDict()

    def _enhance(self, spectrum: Tensor) -> Tensor:
        """(B, T, F) complex -> (B, T, F) complex; every frame valid."""
        spectrum, level = rms_normalise(spectrum)
        small = compress(spectrum, self.compression)
        mask, added = self._outputs(stack_features(small, dim=2))  # (B, T, 3, F)
        out = compress(weigh(spectrum, mask), self.compression) + added
        return expand(out, self.compression) * level

    def _outputs(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, 3, F) -> the mask (B, T, taps, F) and what is added (B, T, F), complex."""
        bins = features.shape[-1]
        merged = self.bands.merge(features).transpose(2, 3)  # (B, T, K, 3)
        with autocast(features.device, self.amp_dtype):
            x, skips = merged, []
            for down in self.down:
                skips.append(x)
                x = down(x)
            inner = x
            for block in self.blocks:
                x = block(x)
            x = self.up[0](x + inner, skips[1].shape[2])
            x = self.up[1](x + skips[1], merged.shape[2])
        with in_float32(features):
            x = x.float()
            bands = self.head(torch.cat([x, merged], dim=-1)).transpose(2, 3)
            out = self.bands.spread(bands, bins)  # (B, T, parts, F)
            if self.detail is not None:
                out = out + self._details(x, features)
            out = out.unflatten(2, (-1, 2)).transpose(3, 4)
            out = torch.view_as_complex(out.contiguous())
            return bounded(out[:, :, :-1], self.mask_limit), out[:, :, -1]

    def _details(self, x: Tensor, features: Tensor) -> Tensor:
        """What single bins add to the outputs of their bands: (B, T, parts, F)."""
        bins = features.shape[-1]
        near = min(bins, self.detail_bins)
        x = self.detail.project(x[:, :, : self.bands.count(near)])
        hidden = self.bands.spread(x.transpose(2, 3), near)
        out = self.detail(hidden, features[..., :near])
        return F.pad(out, (0, bins - near))


def weigh(spectrum: Tensor, mask: Tensor) -> Tensor:
    """Sum of masked frames: (B, T, F) and (B, T, taps, F), both complex -> (B, T, F).

    Tap k weighs frame t + k - taps // 2; frames before the first and after the last are zero.
    """
    taps, frames = mask.shape[2], spectrum.shape[1]
    if taps == 1:
        return spectrum * mask[:, :, 0]
    margin = taps // 2
    padded = F.pad(spectrum, (0, 0, margin, margin))
    return sum(padded[:, k : k + frames] * mask[:, :, k] for k in range(taps))


class _Detail(nn.Module):
    """Two convolutions on single bins: their own features beside what their bands say."""

    def __init__(self, inputs: int, channels: int, parts: int):
        super().__init__()
        self.project = nn.Linear(inputs, channels)
        self.conv = nn.Conv2d(channels + INPUTS, channels, (3, 5), padding=(1, 2))
        self.act = nn.PReLU(channels)
        self.out = nn.Conv2d(channels, parts, (1, 1))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """(B, T, C, F) of the bands and (B, T, 3, F) of the bins -> (B, T, parts, F)."""
        x = torch.cat([hidden, features], dim=2).transpose(1, 2)  # (B, C + 3, T, F)
        return self.out(self.act(self.conv(x))).transpose(1, 2)
