"""One block of TF-GridNet in a single channel-last layout.

Parameter names and shapes are those of ESPnet's `GridNetV3Block`, so its checkpoints load; the
computation differs: no unfold copy, library norms, scaled dot-product attention.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from espnet_hybridse.discriminative.window_blstm import window_blstm
from espnet_hybridse.nn.batching import joined, row_parts


class GridBlock(nn.Module):
    """Intra-frame BLSTM, sub-band BLSTM and full-band self-attention (Wang et al. 2023, sec. IV).

    Args:
        emb_dim: channels C.
        emb_ks: frequency bins (or frames) one LSTM step sees.
        emb_hs: step between them; emb_hs == emb_ks is the cheap, non-overlapping form.
        hidden_channels: LSTM units per direction.
        n_head: attention heads; must divide emb_dim.
        qk_output_channel: query and key channels per head and bin.
        eps: of every normalisation.
    """

    def __init__(
        self,
        emb_dim: int,
        emb_ks: int,
        emb_hs: int,
        hidden_channels: int,
        n_head: int = 4,
        qk_output_channel: int = 4,
        eps: float = 1e-5,
    ):
        super().__init__()
        if emb_dim % n_head:
            raise ValueError(
                f"emb_dim={emb_dim} is not a multiple of attn_n_head={n_head}; change one of them"
            )
        if not 1 <= emb_hs <= emb_ks:
            raise ValueError(f"emb_hs={emb_hs} must lie in 1..emb_ks={emb_ks}")
        self.emb_ks, self.emb_hs = emb_ks, emb_hs
        for name in ("intra", "inter"):
            self.add_module(f"{name}_norm", nn.LayerNorm(emb_dim, eps=eps))
            self.add_module(
                f"{name}_rnn",
                nn.LSTM(emb_dim * emb_ks, hidden_channels, bidirectional=True),
            )
            self.add_module(
                f"{name}_linear",
                nn.Linear(hidden_channels * 2, emb_dim * emb_ks)
                if emb_ks == emb_hs
                else nn.ConvTranspose1d(hidden_channels * 2, emb_dim, emb_ks, stride=emb_hs),
            )
        value_channel = emb_dim // n_head
        self.attn_conv_Q = nn.Conv2d(emb_dim, n_head * qk_output_channel, 1)
        self.attn_norm_Q = HeadNorm(n_head, qk_output_channel, eps)
        self.attn_conv_K = nn.Conv2d(emb_dim, n_head * qk_output_channel, 1)
        self.attn_norm_K = HeadNorm(n_head, qk_output_channel, eps)
        self.attn_conv_V = nn.Conv2d(emb_dim, n_head * value_channel, 1)
        self.attn_norm_V = HeadNorm(n_head, value_channel, eps)
        self.attn_concat_proj = nn.Sequential(
            nn.Conv2d(emb_dim, emb_dim, 1), nn.PReLU(), ChannelNorm(emb_dim, eps)
        )

    def forward(self, x: torch.Tensor, recompute: bool = False) -> torch.Tensor:
        """(B, T, Q, C) -> (B, T, Q, C).

        With `recompute` each of the three parts saves its input alone and runs again in the
        backward pass.
        """
        run = partial(checkpoint, use_reentrant=False) if recompute else apply
        frames, bins = x.shape[1:3]
        overlap = self.emb_ks - self.emb_hs
        pad = [self._padding(size, overlap) for size in (bins, frames)]
        x = F.pad(x, (0, 0, overlap, pad[0], overlap, pad[1]))
        x = run(self._recur, x, "intra", 2)
        x = run(self._recur, x, "inter", 1)
        x = x[:, overlap : overlap + frames, overlap : overlap + bins]
        return run(self._attend, x)

    def _padding(self, size: int, overlap: int) -> int:
        steps = math.ceil((size + 2 * overlap - self.emb_ks) / self.emb_hs)
        return steps * self.emb_hs + self.emb_ks - size - overlap

    def _recur(self, x: torch.Tensor, name: str, dim: int) -> torch.Tensor:
        """Add to (B, T, Q, C) what a BLSTM along `dim` makes of windows of emb_ks neighbours."""
        hidden = getattr(self, f"{name}_rnn").hidden_size
        values = 2 * hidden * x.shape[0] * x.shape[dim] // self.emb_hs
        parts = row_parts(x, 3 - dim, values)
        if len(parts) == 1:
            return x + self._windows(x, name, dim)
        for part in parts:  # in place: x is the padded copy that forward() made
            part += self._windows(part, name, dim)
        return x

    def _windows(self, x: torch.Tensor, name: str, dim: int) -> torch.Tensor:
        """Only the windows are laid out anew, time first; the norm keeps the block's layout."""
        sequence = getattr(self, f"{name}_norm")(x).movedim(dim, 0)
        rows = sequence.shape[1:3]
        rnn, linear = getattr(self, f"{name}_rnn"), getattr(self, f"{name}_linear")
        out = window_blstm(sequence.flatten(1, 2), rnn, linear, self.emb_ks, self.emb_hs)
        return out.unflatten(1, rows).movedim(0, dim)

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        """Self-attention across frames, each frame's bins flattened into one vector."""
        parts = row_parts(x, 1, x[:, 0].numel())
        query, key, value = (
            joined([norm(pointwise(conv, part)) for part in parts], 2)
            for conv, norm in (
                (self.attn_conv_Q, self.attn_norm_Q),
                (self.attn_conv_K, self.attn_norm_K),
                (self.attn_conv_V, self.attn_norm_V),
            )
        )
        out = F.scaled_dot_product_attention(query.flatten(3), key.flatten(3), value.flatten(3))
        heads = out.view_as(value).permute(0, 2, 3, 1, 4)
        heads = heads.split([part.shape[1] for part in parts], 1)
        done = [self._merge(x, out.reshape(x.shape)) for x, out in zip(parts, heads, strict=True)]
        return joined(done, 1)

    def _merge(self, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        conv, activation, norm = self.attn_concat_proj
        return x + norm(activation(pointwise(conv, out)))


def apply(function, *args):
    """What `checkpoint` does, without it."""
    return function(*args)


def pointwise(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Apply a 1x1 convolution's weights to channel-last (…, C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


class HeadNorm(nn.Module):
    """PReLU per head, then normalisation over each head's channels.

    Parameters as ESPnet's `AllHeadPReLULayerNormalization4DC`: gamma, beta (1, H, E, 1, 1).
    """

    def __init__(self, n_head: int, channels: int, eps: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, n_head, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, n_head, channels, 1, 1))
        self.act = nn.PReLU(num_parameters=n_head, init=0.25)
        self.n_head, self.channels, self.eps = n_head, channels, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, Q, H*E) -> (B, H, T, Q, E)."""
        slope = self.act.weight.repeat_interleave(self.channels).to(x.dtype)
        x = F.prelu(x.flatten(0, 2), slope).unflatten(0, x.shape[:3])
        x = x.unflatten(-1, (self.n_head, self.channels))
        x = F.layer_norm(x.float(), (self.channels,), eps=self.eps).to(x.dtype)
        x = torch.addcmul(self.beta[0, ..., 0, 0], x, self.gamma[0, ..., 0, 0])
        return x.permute(0, 3, 1, 2, 4)


class ChannelNorm(nn.Module):
    """LayerNorm over the last dim; parameters shaped (1, C, 1, 1) as ESPnet stores them."""

    def __init__(self, channels: int, eps: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, C) -> (…, C)."""
        gamma, beta = self.gamma.flatten(), self.beta.flatten()
        return F.layer_norm(x.float(), gamma.shape, gamma, beta, self.eps)
