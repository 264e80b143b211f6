"""Cross-attention of the refiner's bins to the language model's states."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_hybridse.nn.batching import valid_mask


class CrossAttention(nn.Module):
    """Every time-frequency position queries the states; states are keys and values.

    Both sides share one 20 ms grid, so rotary embeddings of frame and state number are added to
    query and key, and constant biases make nearby states the most attended from the first step
    (our choice: the paper names no positions, and without them a frame could find its states by
    content alone).

    Args:
        channels: size of the queries, C.
        state_dim: size of the states, H.
        heads: channels / heads must be even.
    """

    def __init__(self, channels: int, state_dim: int, heads: int = 4):
        super().__init__()
        if channels % (2 * heads):
            raise ValueError(f"channels={channels} is not a multiple of 2 * heads={2 * heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.state_norm = nn.LayerNorm(state_dim)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(state_dim, 2 * channels)
        self.out = nn.Linear(channels, channels)
        half = channels // heads // 2
        # Periods from 12 frames up, in an irrational ratio so that they peak together only at 0.
        frequency = 0.5 * 0.43 ** torch.arange(half, dtype=torch.float)
        self.register_buffer("frequency", frequency, persistent=False)
        # A score of 2 * half * level^2 / sqrt(2 * half) at distance 0, here 6.
        level = (6.0 / (2 * half) ** 0.5) ** 0.5
        with torch.no_grad():
            self.query.bias.fill_(level)
            self.key_value.bias[:channels].fill_(level)

    def forward(self, x: Tensor, states: Tensor, slens: Tensor) -> Tensor:
        """(B, T, F, C), states (B, N, H) of which (B,) are valid -> (B, T, F, C)."""
        b, t, f, c = x.shape
        keys, values = self.key_value(self.state_norm(states)).chunk(2, -1)
        k = self._rotate(self._split(keys), states.size(1))  # (B, heads, N, c)
        v = self._split(values)
        q = self.query(self.norm(x)).transpose(1, 2).reshape(b * f, t, c)
        q = self._rotate(self._split(q), t)  # (B * F, heads, T, c)
        q = q.view(b, f, self.heads, t, -1).transpose(1, 2).flatten(2, 3)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self._valid(slens, k))
        y = y.view(b, self.heads, f, t, -1).permute(0, 3, 2, 1, 4).reshape(b, t, f, c)
        return self.out(y)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _rotate(self, x: Tensor, steps: int) -> Tensor:
        """Rotary embedding of position 0…steps - 1 on (…, steps, c)."""
        angle = torch.arange(steps, device=x.device)[:, None] * self.frequency
        cos, sin = _both(angle.cos()), _both(angle.sin())
        first, second = x.chunk(2, -1)
        return (x * cos + torch.cat([-second, first], -1) * sin).to(x.dtype)

    @staticmethod
    def _valid(slens: Tensor, keys: Tensor) -> Tensor | None:
        size = keys.size(2)
        if int(slens.min()) >= size:
            return None
        return valid_mask(slens, size, keys.device)[:, None, None]


def _both(x: Tensor) -> Tensor:
    return torch.cat([x, x], -1)
