"""Mixed lengths in a batch, exactly: equal lengths are computed together, others apart."""

from typing import Callable, List, Tuple

import torch


def on_device(lengths: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Lengths (B,) where the network computes; sent there without waiting for what it does."""
    return lengths.to(device, non_blocking=True)


def valid_mask(lengths: torch.Tensor, size: int, device: torch.device) -> torch.Tensor:
    """(B, size), True on the first `lengths[b]` positions; made on `device` from (B,) anywhere."""
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
    lengths: List[int] = ilens.tolist()
    if all(length == padded.shape[1] for length in lengths):
        return process(padded, torch.arange(len(lengths), device=padded.device))
    output = None
    for length in sorted(set(lengths)):
        rows = torch.tensor(
            [row for row, other in enumerate(lengths) if other == length], device=padded.device
        )
        part = process(padded[rows, :length], rows)
        if output is None:
            shape: Tuple[int, ...] = (len(lengths), padded.shape[1], *part.shape[2:])
            output = part.new_zeros(shape)
        output = output.index_put(
            (rows[:, None], torch.arange(length, device=rows.device)[None]), part
        )
    return output
