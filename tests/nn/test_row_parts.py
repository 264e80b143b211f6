"""Inference in parts of rows gives what the whole gives."""

import pytest
import torch

from espnet_hybridse.discriminative.grid_block import GridBlock
from espnet_hybridse.fusion.attention_block import GridTransformer
from espnet_hybridse.generative.refiner import Refiner
from espnet_hybridse.nn.batching import row_parts

LAYERS = {
    "grid block, windows apart": lambda: GridBlock(16, 4, 4, 64),
    "grid block, windows overlap": lambda: GridBlock(16, 4, 1, 32),
    "fusion block": lambda: GridTransformer(16, 48, 4, 32, 4),
    "refiner": lambda: Refiner(8, 16, downs=1, blocks=1, hidden=64),
}


@pytest.mark.slow
@pytest.mark.parametrize("bins", (90, 92))  # 92 bins: nothing is padded
@pytest.mark.parametrize("layer", LAYERS)
def test_parts_equal_the_whole(layer, bins):
    torch.manual_seed(0)
    module, frames = LAYERS[layer]().eval(), 600
    if layer == "refiner":
        lengths = torch.tensor([frames, frames])
        noisy = torch.randn(2, frames, 150, dtype=torch.complex64)
        inputs = noisy, lengths, torch.randn(2, frames, 8), lengths
    else:
        inputs = (torch.randn(2, frames, bins, 16),)
    # Where gradients are needed nothing is parted.
    whole, kept = module(*inputs), inputs[0].clone()
    with torch.no_grad():
        parted = module(*inputs)
    torch.testing.assert_close(parted, whole.detach(), atol=2e-5, rtol=2e-5)
    assert torch.equal(inputs[0], kept), "the input was written to"


@pytest.mark.parametrize("layer", LAYERS)
def test_bfloat16_runs_on_every_processor(layer):
    torch.manual_seed(0)
    module, lengths = LAYERS[layer]().eval(), torch.tensor([20])
    inputs = (torch.randn(1, 20, 30, 16),)
    if layer == "refiner":
        noisy = torch.randn(1, 20, 50, dtype=torch.complex64)
        inputs = noisy, lengths, torch.randn(1, 20, 8), lengths
    with torch.inference_mode():
        whole = module(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            half = module(*inputs)
    assert (half - whole).abs().mean() < 0.05 * whole.abs().mean()


def test_an_empty_batch_stays_empty():
    with torch.inference_mode():
        assert GridBlock(16, 4, 4, 64)(torch.zeros(0, 4, 40, 16)).shape == (0, 4, 40, 16)


def test_a_long_input_is_parted_in_inference_only():
    x = torch.zeros(1000, 100, 16)
    assert len(row_parts(x, 0, 2**14)) == 1
    with torch.no_grad():
        assert [len(part) for part in row_parts(x, 0, 2**14)] == [128] * 7 + [104]
        assert [len(part) for part in row_parts(x, 0, 2**18)] == [32] * 31 + [8]
