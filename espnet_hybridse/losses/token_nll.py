"""Negative log-likelihood of the clean-speech tokens: L_NLL of paper eq. (3)."""

import torch
import torch.nn.functional as F
from espnet2.enh.loss.criterions.abs_loss import AbsEnhLoss
from torch import Tensor

IGNORE = -100


class TokenNLL(AbsEnhLoss):
    """Cross entropy, mean over the valid tokens of the batch.

    A criterion like the others in the YAML; HybridEnhancementModel feeds it tokens instead of
    waveforms.

    Args:
        label_smoothing: share of the target spread over the vocabulary (0.1 as in UniSE; the
            paper gives none).
    """

    def __init__(self, label_smoothing: float = 0.1):
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing={label_smoothing} must lie in [0, 1)")
        self.label_smoothing = label_smoothing

    @property
    def name(self) -> str:
        return "nll"

    def forward(self, logits: Tensor, tokens: Tensor, tokens_lengths: Tensor) -> Tensor:
        """Loss of one batch.

        Args:
            logits: (B, N, V).
            tokens: (B, N) int64; anything past the lengths.
            tokens_lengths: (B,) valid tokens, at least one in the batch.

        Returns:
            scalar, in nats per token.

        Raises:
            ValueError: shapes that do not belong together.
        """
        if logits.shape[:2] != tokens.shape or tokens_lengths.shape != tokens.shape[:1]:
            raise ValueError(
                f"logits {tuple(logits.shape)}, tokens {tuple(tokens.shape)} and tokens_lengths "
                f"{tuple(tokens_lengths.shape)} must be (B, N, V), (B, N) and (B,)"
            )
        lengths = tokens_lengths.to(tokens.device, non_blocking=True)
        valid = torch.arange(tokens.size(1), device=tokens.device) < lengths[:, None]
        targets = tokens.masked_fill(~valid, IGNORE)
        return F.cross_entropy(
            logits.flatten(0, 1).float(),
            targets.flatten(),
            ignore_index=IGNORE,
            label_smoothing=self.label_smoothing,
        )
