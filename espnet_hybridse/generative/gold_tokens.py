"""The tokens of clean speech that come with a training batch."""

import torch
from torch import Tensor

from espnet_hybridse.nn.batching import valid_mask


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
    lengths, nlens = lengths.cpu(), nlens.cpu()
    short = lengths < nlens
    if bool(short.any()):
        row = int(short.nonzero()[0])
        raise ValueError(
            f"utterance {row} of the batch has {int(lengths[row])} tokens for {int(nlens[row])} "
            "frames; extract them from the same clean speech, and crop both together (50 a second)"
        )
    size = int(nlens.max())
    tokens = tokens[:, :size]
    # Padding values of the loader (-1, -100) are no rows of the embedding table.
    return tokens.masked_fill(~valid_mask(nlens, size, tokens.device), 0)
