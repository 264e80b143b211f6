"""The tokens of clean speech that come with a training batch."""

import torch
from torch import Tensor


def gold_tokens(additional: dict, nlens: Tensor) -> Tensor | None:
    """The gold tokens cut to one per semantic frame, (B, N), or None where there are none.

    Raises:
        ValueError: an utterance has fewer tokens than frames.
    """
    tokens = additional.get("tokens")
    if tokens is None:
        return None
    lengths = additional.get("tokens_lengths")
    if lengths is None:
        lengths = torch.full_like(nlens, tokens.size(1))
    short = lengths.to(nlens.device) < nlens
    if bool(short.any()):
        row = int(short.nonzero()[0])
        raise ValueError(
            f"utterance {row} of the batch has {int(lengths[row])} tokens for {int(nlens[row])} "
            "frames; extract them from the same clean speech, and crop both together (50 a second)"
        )
    size = int(nlens.max())
    tokens = tokens[:, :size].to(nlens.device)
    # Padding values of the loader (-1, -100) are no rows of the embedding table.
    return tokens.masked_fill(~mask_of(nlens, size), 0)


def mask_of(lengths: Tensor, size: int) -> Tensor:
    """(B, size), True on valid positions."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
