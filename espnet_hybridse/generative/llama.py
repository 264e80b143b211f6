"""The LLaMA decoder, in the parameter names of transformers: few lines that import nothing else.

transformers' own class takes longer to import than a short file takes to enhance.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_hybridse.nn.precision import in_float32

EPS = 1e-6
ROTARY_BASE = 10000.0


class Llama(nn.Module):
    """Layers of `transformers.LlamaModel` with as many key and value heads as query heads.

    Args:
        vocab_size: rows of the embedding V.
        layers: transformer layers.
        dim: hidden size H, a multiple of 2 * heads.
        heads: attention heads.
        ffn: inner size of the gated feed-forward.
        dropout: of attention weights, in training only.
    """

    def __init__(
        self, vocab_size: int, layers: int, dim: int, heads: int, ffn: int, dropout: float = 0.0
    ):
        super().__init__()
        self.heads, self.ffn = heads, ffn
        self.embed_tokens = nn.Embedding(vocab_size, dim)
        self.layers = nn.ModuleList(Layer(dim, heads, ffn, dropout) for _ in range(layers))
        self.norm = RMSNorm(dim)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine (B, N, d / 2) of each position's angles, d = H / heads."""
        size = self.norm.weight.numel() // self.heads
        steps = torch.arange(0, size, 2, device=positions.device).float() / size
        angles = positions[..., None].float() * ROTARY_BASE**-steps
        return angles.cos(), angles.sin()

    def forward(
        self, x: Tensor, mask: Tensor, positions: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Run all layers.

        Args:
            x: (B, N, H) input vectors.
            mask: (B, 1, N, N), True where a row may look.
            positions: (B, N).

        Returns:
            (B, N, H) after the final norm, and each layer's keys and values (B, heads, N, d).
        """
        with in_float32(x):
            cos, sin = (part[:, None].to(x.dtype) for part in self.rotation(positions))
        kept = []
        for layer in self.layers:
            x, keys, values = layer(x, mask, cos, sin)
            kept.append((keys, values))
        return self.norm(x), kept


class RMSNorm(nn.Module):
    """Scale each vector by its root mean square, computed in float32."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        level = torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS)
        return self.weight * (wide * level).to(x.dtype)


class Layer(nn.Module):
    """Causal self-attention, then the gated feed-forward, each after a norm."""

    def __init__(self, dim: int, heads: int, ffn: int, dropout: float):
        super().__init__()
        self.self_attn = Attention(dim, heads, dropout)
        self.mlp = FeedForward(dim, ffn)
        self.input_layernorm = RMSNorm(dim)
        self.post_attention_layernorm = RMSNorm(dim)

    def forward(
        self, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, keys, values = self.self_attn(self.input_layernorm(x), mask, cos, sin)
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x)), keys, values


class Attention(nn.Module):
    """Multi-head attention with rotary positions."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.o_proj = nn.Linear(dim, dim, bias=False)

    def forward(
        self, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        query, keys, values = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, keys = rotated(query, cos, sin), rotated(keys, cos, sin)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(query, keys, values, mask, dropout)
        return self.o_proj(y.transpose(1, 2).flatten(2)), keys, values


class FeedForward(nn.Module):
    """SiLU-gated linear unit."""

    def __init__(self, dim: int, ffn: int):
        super().__init__()
        self.gate_proj = nn.Linear(dim, ffn, bias=False)
        self.up_proj = nn.Linear(dim, ffn, bias=False)
        self.down_proj = nn.Linear(ffn, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn number i and number i + d / 2 of each vector (…, d) by the i-th angle."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
