"""What both recurrent halves of a grid block do: windows, BLSTM, projection, overlap-add."""

import torch
import torch.nn.functional as F
from torch import nn

from espnet_hybridse.discriminative.low_memory_lstm import OverlapAdd, cut_windows, lean_blstm
from espnet_hybridse.nn.precision import as_autocast, run_lstm

LEAN_FROM = 2**14
"""Output values of one step below which calling overhead outweighs the memory saved."""


def window_blstm(
    x: torch.Tensor,
    rnn: nn.LSTM,
    linear: nn.Linear | nn.ConvTranspose1d,
    size: int,
    step: int,
) -> torch.Tensor:
    """Run `rnn` over windows of `size` frames and spread its output over the same frames.

    Args:
        x: (L, N, C), time first.
        rnn: bidirectional, H units per direction, input size * C.
        linear: to size * C features for step == size, else the transposed convolution that
            adds overlapping windows up.
        size, step: frames.

    Returns:
        (L, N, C).
    """
    x = as_autocast(x)  # before the windows multiply it
    # ESPnet orders a window's features frame-major where windows tile, else channel-major.
    tiles = size == step
    project, bias = (linear.weight, linear.bias) if tiles else (_frame_major(linear), None)
    if _lean(x, rnn):
        weights = list(rnn._flat_weights)
        if not tiles:
            for k in (0, 4):
                weights[k] = weights[k].unflatten(1, (-1, size)).transpose(1, 2).flatten(1)
        states = lean_blstm(x, weights, size, step)
        out = torch.bmm(states.flatten(1, 2), project.t().unflatten(0, (2, -1)))
        out = out.sum(0).unflatten(0, states.shape[1:3])
        if bias is not None:
            out = out + bias
    else:
        windows = cut_windows(x, size, step) if tiles else x.unfold(0, size, step).flatten(2)
        out = F.linear(run_lstm(rnn, windows), project, bias)
    out = OverlapAdd.apply(out, size, step)
    return out if tiles else out + linear.bias


def _frame_major(linear: nn.ConvTranspose1d) -> torch.Tensor:
    """Weights (2 H, C, size) -> (size * C, 2 H)."""
    return linear.weight.permute(2, 1, 0).flatten(0, 1)


def _lean(x: torch.Tensor, rnn: nn.LSTM) -> bool:
    """Whether a backward pass on CPU follows that needs much of what the forward pass saves."""
    needed = torch.is_grad_enabled() and (x.requires_grad or rnn.weight_ih_l0.requires_grad)
    return needed and x.device.type == "cpu" and x.shape[1] * rnn.hidden_size >= LEAN_FROM
