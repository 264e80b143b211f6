"""Grid block on merged bands: recurrence along bands and time, optional attention over time."""

import torch.nn.functional as F
from torch import Tensor, nn

from espnet_hybridse.nn.batching import by_row_parts
from espnet_hybridse.nn.precision import run_lstm


class BandedBlock(nn.Module):
    """LSTM along bands, LSTM along time, attention; each with LayerNorm before and residual.

    One channel-last layout (B, T, Q, C) throughout, so that only the LSTMs' inputs are laid out
    anew.

    Args:
        channels: C.
        hidden: LSTM units along time, per direction.
        band_hidden: LSTM units along bands, per direction.
        bidirectional: along time; along bands both directions are always used.
        attention: "none", "time" (each frame's bands joined into one token, TF-GridNet's full-band
            attention with pooled bands) or "bands" (within a frame, as FastEnhancer).
        n_head: attention heads, a divisor of C.
        recur_bands: recurrence along bands; without it attention alone joins them.
        cell: "lstm" or "gru".
    """

    ATTENTION = ("none", "time", "bands")

    def __init__(
        self,
        channels: int,
        hidden: int,
        band_hidden: int,
        bidirectional: bool = True,
        attention: str = "none",
        n_head: int = 4,
        recur_bands: bool = True,
        cell: str = "lstm",
    ):
        super().__init__()
        if attention not in self.ATTENTION:
            raise ValueError(f"attention={attention!r} is not one of {', '.join(self.ATTENTION)}")
        if attention != "none" and channels % n_head:
            raise ValueError(f"channels={channels} is not a multiple of n_head={n_head}")
        self.over_bands = Recurrence(channels, band_hidden, True, cell) if recur_bands else None
        self.over_time = Recurrence(channels, hidden, bidirectional, cell)
        self.attend = {
            "none": lambda: None,
            "time": lambda: TimeAttention(channels, n_head),
            "bands": lambda: BandAttention(channels, n_head),
        }[attention]()

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, Q, C) -> (B, T, Q, C); every frame valid."""
        if self.over_bands is not None:
            x = x + self.over_bands(x, 2)
        x = x + self.over_time(x, 1)
        return x if self.attend is None else x + self.attend(x)


class Recurrence(nn.Module):
    """LayerNorm, LSTM or GRU along one dimension, projection back to C."""

    CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}

    def __init__(self, channels: int, hidden: int, bidirectional: bool, cell: str = "lstm"):
        super().__init__()
        if cell not in self.CELLS:
            raise ValueError(f"cell={cell!r} is not one of {', '.join(self.CELLS)}")
        self.norm = nn.LayerNorm(channels)
        self.rnn = self.CELLS[cell](channels, hidden, bidirectional=bidirectional)
        self.project = nn.Linear(hidden * (1 + bidirectional), channels)

    def forward(self, x: Tensor, dim: int) -> Tensor:
        """(B, T, Q, C), steps along `dim` (1 or 2) -> (B, T, Q, C)."""
        # Steps first, rows second: the layout in which the library's LSTM runs without copies.
        steps = self.norm(x).movedim(dim, 0)
        rows = steps.shape[1:3]
        values = steps.shape[0] * self.project.in_features
        # Rows are the second dimension: they do not influence each other.
        out = by_row_parts(self._rows, steps.flatten(1, 2).transpose(0, 1), values)
        return out.transpose(0, 1).unflatten(1, rows).movedim(0, dim)

    def _rows(self, rows: Tensor) -> Tensor:
        """(N, L, C) -> (N, L, C)."""
        steps = rows.transpose(0, 1).contiguous()
        return self.project(run_lstm(self.rnn, steps)).transpose(0, 1)


class TimeAttention(nn.Module):
    """Self-attention across frames: every head sees all bands of a frame."""

    def __init__(self, channels: int, n_head: int, qk_channel: int = 2):
        super().__init__()
        self.n_head, self.qk = n_head, qk_channel
        self.norm = nn.LayerNorm(channels)
        self.project_qk = nn.Linear(channels, 2 * n_head * qk_channel)
        self.project_v = nn.Linear(channels, channels)
        self.project_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, Q, C) -> (B, T, Q, C)."""
        b, t, q, c = x.shape
        x = self.norm(x)
        query, key = self.project_qk(x).view(b, t, q, 2, self.n_head, self.qk).unbind(3)
        value = self.project_v(x).view(b, t, q, self.n_head, c // self.n_head)
        # (B, heads, T, Q * E): a frame is one token
        query, key, value = (part.permute(0, 3, 1, 2, 4).flatten(3) for part in (query, key, value))
        out = F.scaled_dot_product_attention(query, key, value)
        out = out.view(b, self.n_head, t, q, -1).permute(0, 2, 3, 1, 4).reshape(b, t, q, c)
        return self.project_out(out)


class BandAttention(nn.Module):
    """Self-attention across the bands of one frame, with a learned query-key channel each."""

    def __init__(self, channels: int, n_head: int):
        super().__init__()
        self.n_head = n_head
        self.norm = nn.LayerNorm(channels)
        self.project_in = nn.Linear(channels, 3 * channels)
        self.project_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, Q, C) -> (B, T, Q, C)."""
        b, t, q, c = x.shape
        parts = self.project_in(self.norm(x)).view(b * t, q, 3, self.n_head, c // self.n_head)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.project_out(out.transpose(1, 2).reshape(b, t, q, c))
