"""Batches of mixed lengths, computed exactly: equal lengths together, others apart."""

from collections.abc import Callable

import torch


def on_device(lengths: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Send lengths (B,) to where the network computes, without waiting for what it does."""
    return lengths.to(device, non_blocking=True)


def valid_mask(lengths: torch.Tensor, size: int, device: torch.device) -> torch.Tensor:
    """Make (B, size), True on the first `lengths[b]` positions, on `device` from (B,) anywhere."""
    return torch.arange(size, device=device) < on_device(lengths, device)[:, None]


def by_length(
    process: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    padded: torch.Tensor,
    ilens: torch.Tensor,
) -> torch.Tensor:
    """Run `process(x (b, T_i, …), rows (b,)) -> (b, T_i, …)` on each group of equal length.

    Padding never reaches the network, so a batch gives what its utterances give one by one
    (bidirectional recurrence, group norm and attention would all let it leak otherwise). Training
    crops and length buckets make the groups large. Frames past an utterance's end come back zero.

    Args:
        process: called with the cut group and the batch rows it holds.
        padded: (B, T, …).
        ilens: (B,) valid lengths, at most T; on a GPU, reading them waits for it.
    """
    lengths: list[int] = ilens.tolist()
    if all(length == padded.shape[1] for length in lengths):
        return process(padded, torch.arange(len(lengths), device=padded.device))
    output = None
    for length in sorted(set(lengths)):
        rows = torch.tensor(
            [row for row, other in enumerate(lengths) if other == length], device=padded.device
        )
        part = process(padded[rows, :length], rows)
        if output is None:
            shape: tuple[int, ...] = (len(lengths), padded.shape[1], *part.shape[2:])
            output = part.new_zeros(shape)
        output = output.index_put(
            (rows[:, None], torch.arange(length, device=rows.device)[None]), part
        )
    return output


VALUES = 2**21
"""Outputs of a layer in one part, 8 MB in fp32: with what a recurrent layer keeps beside them about
32 MB, up to which the allocator reuses its pages instead of asking the system for new ones."""
MIN_ROWS = 32
"""Fewer make the products of matrices too slim."""


def row_parts(x: torch.Tensor, dim: int, values: int) -> list[torch.Tensor]:
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


def each_alone(process: Callable[..., torch.Tensor], *batched: torch.Tensor) -> torch.Tensor:
    """`process(*batched)`, (B, …) each, whose rows do not influence each other.

    On a CPU, without gradients, row by row: as fast as together, in the memory of one.
    """
    first = batched[0]
    if len(first) < 2 or first.device.type != "cpu" or torch.is_grad_enabled():
        return process(*batched)
    return torch.cat([process(*(x[row : row + 1] for x in batched)) for row in range(len(first))])


def joined(parts: list[torch.Tensor], dim: int) -> torch.Tensor:
    """`torch.cat` without a copy of a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
