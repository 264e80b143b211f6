"""Overlapping windows along time, first dimension, and their sum."""

import torch
from torch.autograd.function import once_differentiable


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
