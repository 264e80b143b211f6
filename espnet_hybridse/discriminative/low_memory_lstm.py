"""Bidirectional LSTM over windows whose training on CPU keeps a third of what PyTorch's keeps.

For its backward pass PyTorch's CPU LSTM (oneDNN) saves some 16 values per unit and step, its input
and its output besides. Seven are enough: four gates, cell and output, with the input that
the windows were cut from.
"""

from collections.abc import Sequence

import torch
from torch.autograd.function import once_differentiable

aten = torch.ops.aten
CHUNK_VALUES = 2**21
"""Gate values projected at a time: 8 MB in fp32, small enough to stay near the caches."""


def lean_blstm(
    x: torch.Tensor, weights: Sequence[torch.Tensor], size: int = 1, step: int = 1
) -> torch.Tensor:
    """Run one bidirectional LSTM layer over windows of `x`.

    Args:
        x: (L, N, C), time first.
        weights: `nn.LSTM`'s eight: ih, hh and both biases, then the same of the other direction;
            ih is (4 H, size * C).
        size, step: as in :func:`~espnet_hybridse.discriminative.low_memory_lstm.cut_windows`.

    Returns:
        (2, L', N, H) in x's type: the outputs of both directions, each in the order of time.
    """
    return _LeanBLSTM.apply(x, size, step, *(w.to(x.dtype) for w in weights))


class _LeanBLSTM(torch.autograd.Function):
    """Both directions advance together: step s is frame s of one and frame L'-1-s of the other.

    Gates are ordered i, f, o, g (PyTorch: i, f, g, o): one call serves all three sigmoids.
    """

    @staticmethod
    def forward(ctx, x, size, step, *weights):
        steps = count_windows(x.shape[0], size, step)
        w_ih, w_hh, bias = _stack(weights)
        rows, hidden = x.shape[1], w_hh.shape[-1]
        gates = x.new_empty(2, steps, rows, 4 * hidden)
        states = x.new_empty(2, steps, rows, hidden)
        cells = torch.empty_like(states, dtype=torch.promote_types(x.dtype, torch.float32))
        squashed = cells.new_empty(2, rows, hidden)
        cell, recurrent = torch.zeros_like(squashed), w_hh.transpose(1, 2)
        for chunk in _chunks(gates):
            for k, span in enumerate(_spans(chunk, steps)):
                windows = cut_windows(_frames(x, span, size, step), size, step).flatten(0, 1)
                torch.addmm(bias[k], windows, w_ih[k].t(), out=gates[k, span].flatten(0, 1))
            for s in range(chunk.start, chunk.stop):
                gate = _pair(gates, s)
                if s:
                    gate.baddbmm_(_pair(states, s - 1), recurrent)
                gate[..., : 3 * hidden].sigmoid_()
                gate[..., 3 * hidden :].tanh_()
                i, f, o, g = gate.split(hidden, dim=-1)
                new = _pair(cells, s)
                torch.mul(f, cell, out=new)
                cell = new.addcmul_(i, g)
                torch.tanh(cell, out=squashed)
                torch.mul(o, squashed, out=_pair(states, s))
        ctx.save_for_backward(x, w_ih, w_hh, gates, cells, states)
        ctx.windows = size, step
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, w_ih, w_hh, gates, cells, states = ctx.saved_tensors
        size, step = ctx.windows
        steps, hidden = states.shape[1], states.shape[3]
        grad = grad.contiguous()
        d_x, d_ih, d_hh = (torch.zeros_like(t, dtype=cells.dtype) for t in (x, w_ih, w_hh))
        d_bias = d_ih.new_zeros(2, 4 * hidden)
        d_state, d_cell = (torch.zeros_like(_pair(t, 0)) for t in (states, cells))
        beginning = torch.zeros_like(d_cell)
        for chunk in reversed(_chunks(gates)):
            # Rows of the second direction run backwards here, as its steps do.
            d_gates = torch.empty_like(gates[:, chunk])
            for s in reversed(range(chunk.start, chunk.stop)):
                gate, d_gate = _pair(gates, s), _pair(d_gates, s - chunk.start)
                cell, earlier = _pair(cells, s), _pair(cells, s - 1) if s else beginning
                d_state += _pair(grad, s)
                _cell_backward(gate, d_gate, cell, earlier, d_state, d_cell)
                torch.bmm(d_gate, w_hh, out=d_state)
            for k, span in enumerate(_spans(chunk, steps)):
                part = d_gates[k].flatten(0, 1)
                frames = _frames(x, span, size, step)
                windows = cut_windows(frames, size, step).flatten(0, 1)
                d_ih[k] += part.t() @ windows
                d_bias[k] += part.sum(0, dtype=cells.dtype)
                d_windows = (part @ w_ih[k]).unflatten(0, (-1, x.shape[1]))
                _frames(d_x, span, size, step).add_(overlap_add(d_windows, size, step))
                before = slice(max(span.start - 1, 0), span.stop - 1)
                after = slice(span.start + 1, span.stop + 1)
                past = states[k, after if k else before]
                part = d_gates[k, : len(past)] if k else d_gates[k, -len(past) :]
                if len(past):
                    d_hh[k] += part.flatten(0, 1).t() @ past.flatten(0, 1)
        return d_x.to(x.dtype), None, None, *_unstack(d_ih, d_hh, d_bias, x.dtype)


def _cell_backward(gate, d_gate, cell, earlier, d_state, d_cell) -> None:
    """Fill `d_gate` (2, N, 4 H) and carry `d_cell` one step back, both in place."""
    hidden = cell.shape[-1]
    i, f, o, g = gate.split(hidden, dim=-1)
    d_i, d_f, d_o, d_g = d_gate.split(hidden, dim=-1)
    squashed = cell.tanh()
    torch.mul(d_state, squashed, out=d_o)
    d_cell += aten.tanh_backward(d_state * o, squashed)
    torch.mul(d_cell, g, out=d_i)
    torch.mul(d_cell, earlier, out=d_f)
    torch.mul(d_cell, i, out=d_g)
    d_cell *= f
    sigmoids = d_gate[..., : 3 * hidden]
    aten.sigmoid_backward.grad_input(sigmoids, gate[..., : 3 * hidden], grad_input=sigmoids)
    aten.tanh_backward.grad_input(d_g, g, grad_input=d_g)


def _pair(x: torch.Tensor, s: int) -> torch.Tensor:
    """(2, S, N, H), contiguous -> frame s of direction 0 and frame S-1-s of direction 1."""
    directions, steps, rows, width = x.shape
    apart = (2 * steps - 1 - 2 * s) * rows * width
    start = x.storage_offset() + s * rows * width
    return x.as_strided((directions, rows, width), (apart, width, 1), start)


def _chunks(gates: torch.Tensor) -> list[slice]:
    """Steps in pieces whose gates are about CHUNK_VALUES values."""
    steps, size = gates.shape[1], max(1, CHUNK_VALUES // gates[:, 0].numel())
    return [slice(start, min(start + size, steps)) for start in range(0, steps, size)]


def _spans(chunk: slice, steps: int) -> tuple[slice, slice]:
    """The windows that the two directions see during the steps of `chunk`."""
    return chunk, slice(steps - chunk.stop, steps - chunk.start)


def _frames(x: torch.Tensor, span: slice, size: int, step: int) -> torch.Tensor:
    """The frames of (L, N, C) that the windows of `span` cover."""
    return x[span.start * step : (span.stop - 1) * step + size]


def _stack(weights) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """PyTorch's eight parameters -> (2, 4 H, I), (2, 4 H, H), (2, 4 H); gates i, f, o, g."""
    ih, hh, b_ih, b_hh = (torch.stack((weights[k], weights[k + 4])) for k in range(4))
    return _swap(ih), _swap(hh), _swap(b_ih + b_hh)


def _unstack(d_ih, d_hh, d_bias, dtype) -> list[torch.Tensor]:
    """The gradients of :func:`_stack`'s arguments."""
    d_ih, d_hh, d_bias = (_swap(d).to(dtype) for d in (d_ih, d_hh, d_bias))
    return [d for k in range(2) for d in (d_ih[k], d_hh[k], d_bias[k], d_bias[k])]


def _swap(gates: torch.Tensor) -> torch.Tensor:
    """Exchange the last two of the four gates in dim 1."""
    i, f, g, o = gates.chunk(4, dim=1)
    return torch.cat((i, f, o, g), dim=1)


def count_windows(length: int, size: int, step: int) -> int:
    """How many windows of `size` fit into `length`, `step` apart."""
    return (length - size) // step + 1


def cut_windows(x: torch.Tensor, size: int, step: int) -> torch.Tensor:
    """(L, N, C), time first -> (L', N, size * C); window l holds x[l * step + k], k < size."""
    return x.unfold(0, size, step).movedim(-1, 2).flatten(2)


def overlap_add(windows: torch.Tensor, size: int, step: int) -> torch.Tensor:
    """(L', N, size * C) -> (L, N, C); the transpose of :func:`cut_windows`."""
    windows = windows.unflatten(2, (size, -1))
    if size == step:
        return windows.movedim(2, 1).flatten(0, 1)
    span = (windows.shape[0] - 1) * step
    out = windows.new_zeros(span + size, windows.shape[1], windows.shape[3])
    for k in range(size):
        out[k : k + span + 1 : step] += windows[:, :, k]
    return out


class OverlapAdd(torch.autograd.Function):
    """:func:`overlap_add` whose backward pass is one copy; autograd's own would take `size`."""

    @staticmethod
    def forward(ctx, windows, size, step):
        ctx.windows = size, step
        return overlap_add(windows, size, step)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return cut_windows(grad, *ctx.windows), None, None
