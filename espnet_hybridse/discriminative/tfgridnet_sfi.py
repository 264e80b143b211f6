"""The discriminative branch: TF-GridNet on a sampling-frequency-independent STFT."""

from collections import OrderedDict
from typing import Any

import torch
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch import nn

from espnet_hybridse.discriminative.grid_block import GridBlock
from espnet_hybridse.nn.batching import by_length
from espnet_hybridse.nn.precision import autocast, in_float32
from espnet_hybridse.nn.spectrum import compress, expand, rms_normalise

OUTPUTS = ("mapping", "residual")


class TFGridNetSFI(TFGridNetV3):
    """TF-GridNet whose layers never depend on the number of bins (paper section 2.1).

    With the default `output`, `compression` and `rms_norm` it computes what ESPnet's TFGridNetV3
    computes and loads its state dict. It is a TFGridNetV3 by name only: stock ESPnet passes `fs`
    to encoder and decoder for instances of that class.

    Args:
        input_dim: not used; ESPnet passes the encoder's output size.
        n_srcs: output sources.
        n_imics: only 1 is supported.
        n_layers: GridBlocks (paper: 8).
        lstm_hidden_units: per direction (paper: 256).
        attn_n_head: attention heads.
        attn_qk_output_channel: query and key channels per head and bin.
        emb_dim: embedding size (paper: 64).
        emb_ks: bins or frames one LSTM step sees (paper silent; 4 is TF-GridNet's own).
        emb_hs: step between them (1 is TF-GridNet's own; emb_ks makes it an order cheaper).
        activation: only "prelu", as upstream.
        eps: of every normalisation.
        output: "mapping" predicts the spectrum, as upstream. "residual" predicts
            (1 + m) * X + r, m and r starting at zero, so that training starts from the input
            instead of from noise (our choice for small budgets).
        compression: exponent on the input magnitude, undone on the output; 1.0 is upstream. 0.5
            lets a small network see weak speech (our choice for small budgets).
        freq_stride: bins merged into one by the first convolution and parted again by the last;
            1 is upstream. 4 makes every block four times cheaper (our choice for small budgets).
        rms_norm: divide each utterance by its level and multiply back.
        activation_checkpointing: recompute each block in the backward pass to save memory.
        amp_dtype: "bfloat16" runs the blocks in that precision, "auto" does so where that is
            faster (a GPU that has it; on a processor see cpu_has_bfloat16), null keeps the
            ambient precision. Norms stay in fp32.
    """

    def __init__(
        self,
        input_dim: int,
        n_srcs: int = 1,
        n_imics: int = 1,
        n_layers: int = 8,
        lstm_hidden_units: int = 256,
        attn_n_head: int = 4,
        attn_qk_output_channel: int = 4,
        emb_dim: int = 64,
        emb_ks: int = 4,
        emb_hs: int = 1,
        activation: str = "prelu",
        eps: float = 1.0e-5,
        output: str = "mapping",
        compression: float = 1.0,
        freq_stride: int = 1,
        rms_norm: bool = False,
        activation_checkpointing: bool = False,
        amp_dtype: str | None = None,
    ):
        nn.Module.__init__(self)
        if n_imics != 1:
            raise ValueError(f"n_imics={n_imics}: only 1 is supported; enhance channels one by one")
        if activation != "prelu":
            raise ValueError(f"activation={activation!r}: only 'prelu' is supported")
        if output not in OUTPUTS:
            raise ValueError(f"output={output!r} is not one of {', '.join(OUTPUTS)}")
        if not 0.0 < compression <= 1.0:
            raise ValueError(f"compression={compression} must lie in (0, 1]")
        self.n_srcs, self.n_layers, self.n_imics = n_srcs, n_layers, n_imics
        self.output, self.compression, self.rms_norm = output, compression, rms_norm
        self.activation_checkpointing, self.amp_dtype = activation_checkpointing, amp_dtype

        # The kernel covers one neighbour on either side of the bins it merges.
        frame: dict[str, Any] = {"stride": (1, freq_stride), "padding": (1, 1)}
        kernel = (3, freq_stride + 2)
        self.conv = nn.Sequential(
            nn.Conv2d(2, emb_dim, kernel, **frame), nn.GroupNorm(1, emb_dim, eps=eps)
        )
        self.blocks = nn.ModuleList(
            GridBlock(
                emb_dim,
                emb_ks,
                emb_hs,
                lstm_hidden_units,
                n_head=attn_n_head,
                qk_output_channel=attn_qk_output_channel,
                eps=eps,
            )
            for _ in range(n_layers)
        )
        self.parts = 2 if output == "mapping" else 4
        self.freq_stride = freq_stride
        self.deconv = nn.ConvTranspose2d(emb_dim, n_srcs * self.parts, kernel, **frame)
        if output == "residual":
            for parameter in self.deconv.parameters():
                nn.init.zeros_(parameter)

    lengths_on_cpu = True

    @property
    def num_spk(self) -> int:
        return self.n_srcs

    def forward(
        self, input: torch.Tensor, ilens: torch.Tensor, additional: dict | None = None
    ) -> tuple[list[torch.Tensor], torch.Tensor, OrderedDict]:
        """Enhance a batch of spectra.

        Args:
            input: (B, T, F) complex, any F.
            ilens: (B,) valid frames; padding does not influence them.
            additional: not used.

        Returns:
            n_srcs spectra (B, T, F), ilens, an empty OrderedDict.
        """
        sources = by_length(lambda part, rows: self._enhance(part), input, ilens)
        return list(sources.unbind(2)), ilens, OrderedDict()

    def _enhance(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(B, T, F) complex -> (B, T, n_srcs, F) complex; every frame valid."""
        level: torch.Tensor | float = 1.0
        if self.rms_norm:
            spectrum, rms = rms_normalise(spectrum)
            level = rms[..., None]
        if self.compression != 1.0:
            spectrum = compress(spectrum, self.compression)
        bins = spectrum.shape[-1]
        x = torch.view_as_real(spectrum).permute(0, 3, 1, 2)
        x = nn.functional.pad(x, (0, -bins % self.freq_stride))
        with autocast(spectrum.device, self.amp_dtype):
            x = self.conv(x)
            x = x.permute(0, 2, 3, 1)
            for block in self.blocks:
                x = block(x, recompute=self.activation_checkpointing and torch.is_grad_enabled())
        with in_float32(x):
            x = self.deconv(x.float().permute(0, 3, 1, 2))[..., :bins]
        x = x.unflatten(1, (self.n_srcs, self.parts // 2, 2)).permute(0, 4, 1, 2, 5, 3)
        x = torch.view_as_complex(x.contiguous())  # (B, T, n_srcs, parts / 2, F)
        if self.output == "mapping":
            out = x[..., 0, :]
        else:
            out = (1 + x[..., 0, :]) * spectrum[:, :, None] + x[..., 1, :]
        if self.compression != 1.0:
            out = expand(out, self.compression)
        return out * level
