"""How a token is picked from its logits."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """Greedy by default; a temperature above 0 samples.

    Every utterance of a batch is sampled with the same sequence of uniform numbers, drawn from
    `seed`: an utterance gets the same tokens alone, in any batch and in any order (our choice).

    Args:
        temperature: 0 takes the most likely token; above 0 divides the logits before sampling.
        top_k: sample among the k most likely tokens only; 0 means all.
        top_p: sample among the most likely tokens whose probabilities reach this sum; 1 means all.
        seed: of the uniform numbers.

    Raises:
        ValueError: a value outside its range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self):
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must be >= 0 (0 is greedy)")
        if self.top_k < 0:
            raise ValueError(f"top_k={self.top_k} must be >= 0 (0 means all tokens)")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} must lie in (0, 1] (1 means all tokens)")

    def uniforms(self, steps: int, device: torch.device) -> Tensor | None:
        """(steps,) numbers in [0, 1), the same on every device; None when greedy."""
        if self.temperature == 0:
            return None
        return torch.rand(steps, generator=torch.Generator().manual_seed(self.seed)).to(device)

    def pick(self, logits: Tensor, uniform: Tensor | None) -> Tensor:
        """(B, V) logits and one number of `uniforms` -> (B,) tokens."""
        if uniform is None:
            return logits.argmax(-1)
        ordered, tokens = (logits.float() / self.temperature).sort(-1, descending=True)
        if 0 < self.top_k < logits.size(-1):
            ordered, tokens = ordered[:, : self.top_k], tokens[:, : self.top_k]
        total = ordered.softmax(-1).cumsum(-1)
        if self.top_p < 1:
            # The token that reaches top_p still belongs to those allowed.
            last = (total < self.top_p).sum(-1, keepdim=True).clamp(max=total.size(-1) - 1)
            uniform = uniform * total.gather(1, last)
        chosen = (total <= uniform).sum(-1, keepdim=True).clamp(max=total.size(-1) - 1)
        return tokens.gather(1, chosen)[:, 0]


GREEDY = Sampling()
