"""Parameters and multiply-accumulates of a model, counted without computing anything."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode


def count(
    model: nn.Module, run: Callable[[nn.Module], object], fake: bool = True
) -> tuple[int, int]:
    """Parameters, and multiply-accumulates of one call.

    Counted are matrix products, convolutions, attention and LSTMs. PyTorch counts all but the
    last, whose figure follows from the sizes they are called with.

    Args:
        model: on CPU; no longer of use afterwards.
        run: calls it on an input that it makes itself: tensors have shapes here and no values.
        fake: False computes after all, but for LSTMs, whose output is zero: for models that look
            at values, such as lengths.
    """
    lstm_macs: list[int] = []
    for module in model.eval().modules():
        if isinstance(module, nn.LSTM):
            module.forward = _counter(module, lstm_macs)
    shapes_only = FakeTensorMode(allow_non_fake_inputs=True) if fake else nullcontext()
    with shapes_only, torch.no_grad(), FlopCounterMode(display=False) as counter:
        run(model)
    parameters = sum(p.numel() for p in model.parameters())
    return parameters, counter.get_total_flops() // 2 + sum(lstm_macs)


def _counter(rnn: nn.LSTM, macs: list[int]) -> Callable:
    """What stands in for the LSTM's forward: notes its size and returns the output's shape."""
    directions = 2 if rnn.bidirectional else 1

    def forward(x: torch.Tensor, state=None) -> tuple[torch.Tensor, None]:
        rows = x.numel() // rnn.input_size
        for layer in range(rnn.num_layers):
            size = rnn.input_size if layer == 0 else directions * rnn.hidden_size
            macs.append(rows * directions * 4 * rnn.hidden_size * (size + rnn.hidden_size))
        return x.new_zeros(*x.shape[:-1], directions * rnn.hidden_size), None

    return forward
