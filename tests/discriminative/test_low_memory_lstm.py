"""The BLSTM that trains on CPU: PyTorch's values and gradients, a fraction of its memory."""

import pytest
import torch

from espnet_hybridse.discriminative.low_memory_lstm import (
    CHUNK_VALUES,
    OverlapAdd,
    cut_windows,
    lean_blstm,
    overlap_add,
)


def build(channels, hidden, size, dtype=torch.float32):
    torch.manual_seed(0)
    return torch.nn.LSTM(channels * size, hidden, bidirectional=True).to(dtype)


def both(rnn, x, size, step):
    """Outputs (L', N, 2 H) of the two implementations."""
    mine = torch.cat(lean_blstm(x, rnn._flat_weights, size, step).unbind(), dim=-1)
    return mine, rnn(cut_windows(x, size, step))[0]


def saved_bytes(function):
    """Bytes of the distinct storages that autograd keeps for the backward pass."""
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = function()
    return sum(storages.values()), kept


@pytest.mark.parametrize("size, step", [(1, 1), (4, 1), (4, 4), (3, 2)])
@pytest.mark.parametrize("length, rows", [(4, 1), (41, 7)])
def test_equals_torch(size, step, length, rows):
    rnn = build(6, 10, size)
    x = torch.randn(length, rows, 6, requires_grad=True)
    mine, theirs = both(rnn, x, size, step)
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)
    weight = torch.randn_like(mine)
    inputs = [x, *rnn.parameters()]
    for p, q in zip(
        torch.autograd.grad((mine * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=1e-4)


def test_pieces_of_the_projection_join(monkeypatch):
    rnn = build(6, 10, 3)
    x = torch.randn(50, 4, 6, requires_grad=True)
    monkeypatch.setattr(
        "espnet_hybridse.discriminative.low_memory_lstm.CHUNK_VALUES", 7 * 2 * 4 * 40
    )
    assert CHUNK_VALUES > 50 * 2 * 4 * 40, "without the patch it is one piece"
    mine, theirs = both(rnn, x, 3, 1)
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)
    gradients = [torch.autograd.grad(out.square().sum(), x)[0] for out in (mine, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_gradients_are_the_numeric_ones():
    rnn = build(2, 3, 2, torch.float64)
    x = torch.randn(7, 2, 2, dtype=torch.float64, requires_grad=True)
    weights = [w.detach().requires_grad_() for w in rnn._flat_weights]
    assert torch.autograd.gradcheck(lambda x, *w: lean_blstm(x, w, 2, 1), (x, *weights))


def test_a_second_backward_pass_gives_the_same():
    rnn = build(6, 10, 1)
    x = torch.randn(9, 4, 6, requires_grad=True)
    loss = lean_blstm(x, rnn._flat_weights).square().sum()
    first = torch.autograd.grad(loss, x, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], first, atol=0, rtol=0)


@pytest.mark.parametrize("size, step", [(4, 1), (4, 4)])
def test_keeps_less_than_half_of_what_torch_keeps(size, step):
    rnn = build(16, 64, size)
    x = torch.randn(80, 20, 16, requires_grad=True)
    mine, _ = saved_bytes(lambda: lean_blstm(x, rnn._flat_weights, size, step))
    theirs, _ = saved_bytes(lambda: rnn(cut_windows(x, size, step)))
    assert mine < 0.5 * theirs


def test_bfloat16_input_is_computed_in_bfloat16():
    rnn = build(6, 10, 1)
    x = torch.randn(9, 4, 6)
    out = lean_blstm(x.bfloat16(), rnn._flat_weights)
    assert out.dtype == torch.bfloat16
    exact = lean_blstm(x, rnn._flat_weights)
    torch.testing.assert_close(out.float(), exact, atol=0.02, rtol=0.05)
    out.float().sum().backward()
    assert rnn.weight_hh_l0.grad.dtype == torch.float32


@pytest.mark.parametrize("size, step", [(1, 1), (4, 1), (4, 4), (3, 2)])
def test_overlap_add_is_the_transpose_of_cutting(size, step):
    x = torch.randn(size + 6 * step, 2, 3)
    windows = torch.randn_like(cut_windows(x, size, step)).requires_grad_()
    lhs = (cut_windows(x, size, step) * windows).sum()
    torch.testing.assert_close(lhs, (x * overlap_add(windows, size, step)).sum())
    gradient = torch.autograd.grad((OverlapAdd.apply(windows, size, step) * x).sum(), windows)[0]
    torch.testing.assert_close(gradient, cut_windows(x, size, step))
