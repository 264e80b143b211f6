"""Uni-VERSA-Ext: the multi-metric quality network, [13] in the paper, as a plain module."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from transformers import WavLMConfig, WavLMModel

HEADS = ("mos", "dnsmos_ovrl", "scoreq", "utmos", "nisqa_mos")
"""The five heads of the published network, in its order; section 2.4 names the same five."""

MIN_SAMPLES = 400
"""Receptive field of WavLM's front end at 16 kHz."""


class WavLMFeatures(nn.Module):
    """Softmax-weighted sum of all hidden states of WavLM: (B, T) at 16 kHz -> (B, T50, D)."""

    def __init__(self, config: WavLMConfig):
        super().__init__()
        self.model = WavLMModel(config)
        self.weights = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        states = self.model(wav, output_hidden_states=True).hidden_states
        weights = self.weights.softmax(0)
        return sum(weight * state for weight, state in zip(weights, states, strict=True))


class ScoreRange(nn.Module):
    """Sigmoid stretched to [min_value, max_value], which the checkpoint holds for each head."""

    def __init__(self, min_value: float = 1.0, max_value: float = 5.0):
        super().__init__()
        self.register_buffer("min_value", torch.tensor(min_value))
        self.register_buffer("max_value", torch.tensor(max_value))

    def forward(self, logit: torch.Tensor) -> torch.Tensor:
        return self.min_value + (self.max_value - self.min_value) * logit.sigmoid()


class UniVersaExt(nn.Module):
    """WavLM, projection, Transformer encoder, mean over time, one score from 1 to 5 per head.

    Wang et al., "Improving speech enhancement with multi-metric supervision from learned quality
    assessment", arXiv 2506.12260. The parameter names are those of the published weights
    (`vvwangvv/universa-ext_wavlm-base_5metric`); the default sizes too. Rebuilt here because the
    published code blocks the gradient to the waveform (WavLM under no_grad) and its configuration
    file executes code when it is read.

    Args:
        wavlm: changes to the configuration of wavlm-base-plus, e.g. for a tiny test network.
        heads: names of the metrics, in the order of the output layer.
        dim, layers, num_heads, feedforward: sizes of the Transformer encoder.
    """

    def __init__(
        self,
        wavlm: dict | None = None,
        heads: Sequence[str] = HEADS,
        dim: int = 768,
        layers: int = 6,
        num_heads: int = 8,
        feedforward: int = 2048,
    ):
        super().__init__()
        # The defaults of WavLMConfig are wavlm-base(-plus).
        config = WavLMConfig(**(wavlm or {}))
        self.heads = tuple(heads)
        self.feature_extractor = WavLMFeatures(config)
        self.feat_proj = nn.Sequential(nn.Linear(config.hidden_size, dim), nn.LayerNorm(dim))
        layer = nn.TransformerEncoderLayer(dim, num_heads, feedforward, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.metric_proj = nn.Linear(dim, len(self.heads))
        self.metric2act = nn.ModuleDict({head: ScoreRange() for head in self.heads})
        shares = torch.full((len(self.heads),), 1 / len(self.heads))
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """Unpadded waveforms of one length (B, T) at 16 kHz, any level -> scores (B, heads)."""
        wav = nn.functional.pad(wav, (0, max(0, MIN_SAMPLES - wav.shape[1])))
        hidden = self.encoder(self.feat_proj(self.feature_extractor(normalise(wav))))
        logits = self.metric_proj(hidden.mean(1))
        scores = [self.metric2act[head](logits[:, i]) for i, head in enumerate(self.heads)]
        return torch.stack(scores, dim=1)

    def quality(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, heads) -> share of each head's range that is reached (B, heads), 1 is best."""
        low = torch.stack([self.metric2act[head].min_value for head in self.heads])
        high = torch.stack([self.metric2act[head].max_value for head in self.heads])
        return (scores - low) / (high - low)

    def load_weights(self, state: dict, origin: str) -> None:
        """Load a published state dict and check that every head's range is finite.

        Raises:
            ValueError: keys are missing or left over, or a tensor has another shape; the message
                names them and `origin`.
        """
        own = {name: tensor.shape for name, tensor in self.state_dict().items()}
        try:
            # torch itself renames weight_g and weight_v of checkpoints older than its 2.0.
            result = self.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{origin}: sizes do not fit this network: {error}") from error
        problems = []
        if result.missing_keys:
            problems.append(f"missing keys: {', '.join(result.missing_keys)}")
        if result.unexpected_keys:
            problems.append(f"unknown keys: {', '.join(result.unexpected_keys)}")
        if problems:
            raise ValueError(
                f"{origin}: not the weights of Uni-VERSA-Ext with the heads "
                f"{', '.join(self.heads)} ({len(own)} tensors); {'; '.join(problems)}"
            )
        for head, act in self.metric2act.items():
            if not math.isfinite(act.min_value) or not act.max_value > act.min_value:
                raise ValueError(
                    f"{origin}: head {head!r} has the range {act.min_value}…{act.max_value}; a "
                    "score loss needs a finite one; take the 5-metric network"
                )


def normalise(wav: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance of each row of (B, T), as the Wav2Vec2 feature extractor does."""
    centred = wav - wav.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()
