"""The improved transformer of USES, along frequency and along segments of time."""

import torch
from torch import nn

from espnet_hybridse.nn.batching import by_row_parts
from espnet_hybridse.nn.precision import run_lstm


class ImprovedTransformer(nn.Module):
    """Self-attention followed by a BLSTM in place of the feed-forward layer (USES, section 3).

    Args:
        channels: C.
        hidden: LSTM units per direction.
        n_head: attention heads; divides `channels`.
    """

    def __init__(self, channels: int, hidden: int, n_head: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, n_head, batch_first=True)
        self.attention_norm = nn.LayerNorm(channels)
        self.rnn = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden, channels)
        self.rnn_norm = nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, L, C) -> (N, L, C)."""
        # For each of L steps one row holds both directions' states and the heads' L weights.
        states, weights = 2 * self.rnn.hidden_size, self.attention.num_heads * x.shape[1]
        return by_row_parts(self._rows, x, x.shape[1] * max(states, weights))

    def _rows(self, x: torch.Tensor) -> torch.Tensor:
        x = self.attention_norm(x + self.attention(x, x, x, need_weights=False)[0])
        return self.rnn_norm(x + self.linear(run_lstm(self.rnn, x)))


class GridTransformer(nn.Module):
    """One block: across the bins of each frame, then across frames in linked segments.

    Segments of `segment` frames do not overlap; `n_memory` tokens carry what was heard from one to
    the next, so that memory does not grow with the length of the recording (USES, section 3.2).
    """

    def __init__(self, channels: int, hidden: int, n_head: int, segment: int, n_memory: int):
        super().__init__()
        self.segment, self.n_memory = segment, n_memory
        self.bins = ImprovedTransformer(channels, hidden, n_head)
        self.frames = ImprovedTransformer(channels, hidden, n_head)
        self.memory = nn.Parameter(0.02 * torch.randn(n_memory, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, Q, C) -> (B, T, Q, C)."""
        batch, frames, bins, channels = x.shape
        x = self.bins(x.reshape(batch * frames, bins, channels))
        x = x.view(batch, frames, bins, channels).transpose(1, 2)
        x = x.reshape(batch * bins, frames, channels)
        memory = self.memory.expand(batch * bins, -1, -1)
        parts = []
        for part in x.split(self.segment, dim=1):
            part = self.frames(torch.cat([memory, part], dim=1))
            memory = part[:, : self.n_memory]
            parts.append(part[:, self.n_memory :])
        x = torch.cat(parts, dim=1)
        return x.view(batch, bins, frames, channels).transpose(1, 2)
