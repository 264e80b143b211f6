"""Inference on a processor in parts that its caches hold; elsewhere in one."""

from typing import Callable, List

import torch

VALUES = 2**21
"""Outputs of a layer in one part, 8 MB in fp32: with what a recurrent layer keeps beside them about
32 MB, up to which the allocator reuses its pages instead of asking the system for new ones."""
MIN_ROWS = 32
"""Fewer make the products of matrices too slim."""


def row_parts(x: torch.Tensor, dim: int, values: int) -> List[torch.Tensor]:
    """Views of `x` along a dimension whose rows do not influence each other.

    Args:
        x: input of a layer.
        dim: its rows.
        values: what the layer gives for one row; 0 of an empty batch.

    Returns:
        One view of everything for a GPU or where gradients are needed.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled():
        return [x]
    return list(x.split(max(MIN_ROWS, VALUES // max(values, 1)), dim))


def by_row_parts(
    layer: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, values: int
) -> torch.Tensor:
    """`layer(x)`, (N, …) -> (N, …), whose N rows do not influence each other."""
    return joined([layer(part) for part in row_parts(x, 0, values)], 0)


def joined(parts: List[torch.Tensor], dim: int) -> torch.Tensor:
    """`torch.cat` without a copy of a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
