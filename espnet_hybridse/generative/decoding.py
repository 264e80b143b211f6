"""Autoregressive decoding of TokenLM with a static cache: the fast path, equal to `forward`."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet_hybridse.generative.token_lm import TokenLM


class Decoded(NamedTuple):
    """What decoding leaves: `tokens` (B, N) int64 and `states` (B, N, H), as TokenLM's."""

    tokens: Tensor
    states: Tensor


@torch.no_grad()
def decode(
    lm: TokenLM,
    prefix: Tensor,
    plens: Tensor,
    steps: int,
    temperature: float = 0.0,
    top_k: int = 0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Decoded:
    """Predict `steps` tokens for every utterance of a batch.

    No end token exists: prefix, tokens and refiner frames are all 50 Hz, so the length is known.
    Utterances shorter than `steps` are decoded on; the caller drops the excess.

    Args:
        lm: the model; its weights are read, not copied into the result.
        prefix: (B, P, H) adapter output.
        plens: (B,) valid prefix frames.
        steps: tokens to predict, N.
        temperature: 0 takes the most likely token; above 0 samples.
        top_k: sample among the k most likely tokens only; 0 means all.
        generator: random numbers of the sampling.
        dtype: type of the computation, e.g. torch.bfloat16, which halves the memory traffic that
            bounds small batches; None keeps the model's own.

    Raises:
        ValueError: steps < 1 or a negative temperature.
    """
    if steps < 1 or temperature < 0:
        raise ValueError(f"steps={steps} must be >= 1 and temperature={temperature} >= 0")
    # The ambient autocast would cast every weight at every step.
    with torch.autocast(prefix.device.type, enabled=False):
        decoder = _Decoder(lm, prefix.size(0), prefix.size(1) + steps, dtype or lm.bos.dtype)
        x = lm.embed_prefix(prefix).to(decoder.dtype)
        positions = torch.arange(prefix.size(1), device=prefix.device).expand(len(prefix), -1)
        decoder.advance(x, positions, plens)
        position = lm.first_position(plens)[:, None]
        x = lm.bos.to(decoder.dtype).expand(len(prefix), 1, -1)
        embedding = lm.llama.embed_tokens.weight.to(decoder.dtype)
        head = lm.head.weight.to(decoder.dtype)
        tokens, states = [], []
        for _ in range(steps):
            state = decoder.advance(x, position)
            token = pick(F.linear(state[:, 0], head), temperature, top_k, generator)
            tokens.append(token)
            states.append(state)
            x = F.embedding(token, embedding)[:, None]
            position = position + 1
    return Decoded(torch.stack(tokens, 1), torch.cat(states, 1).to(prefix.dtype))


def pick(
    logits: Tensor, temperature: float, top_k: int, generator: torch.Generator | None
) -> Tensor:
    """(B, V) -> (B,): the most likely token, or a sample at `temperature` among `top_k`."""
    if temperature == 0:
        return logits.argmax(-1)
    if 0 < top_k < logits.size(-1):
        floor = logits.topk(top_k, -1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, float("-inf"))
    probabilities = (logits.float() / temperature).softmax(-1)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


class _Layer(NamedTuple):
    """One LLaMA layer with query, key and value, and gate and up fused: two products fewer each."""

    attention_norm: Tensor
    qkv: Tensor
    out: Tensor
    ffn_norm: Tensor
    gate_up: Tensor
    down: Tensor
    eps: float


class _Decoder:
    """The layers over a preallocated cache (layers, 2, B, heads, length, H / heads)."""

    def __init__(self, lm: TokenLM, batch: int, length: int, dtype: torch.dtype):
        config, device = lm.llama.config, lm.bos.device
        self.dtype, self.heads = dtype, config.num_attention_heads
        self.layers = _fuse(lm, dtype)
        self.norm = lm.llama.norm.weight.to(dtype)
        self.eps = lm.llama.norm.variance_epsilon
        head_dim = config.hidden_size // self.heads
        self.cache = torch.zeros(
            len(self.layers), 2, batch, self.heads, length, head_dim, dtype=dtype, device=device
        )
        self.used = 0
        self.hidden: Tensor | None = None  # (B, 1, 1, length), False on prefix padding
        self.rotary = lm.llama.rotary_emb

    def advance(self, x: Tensor, positions: Tensor, plens: Tensor | None = None) -> Tensor:
        """Run new positions (B, K, H), causal among themselves, and keep their keys and values.

        K > 1 only for the prefix; `plens` then marks its padding. Returns the normed states.
        """
        start, end = self.used, self.used + x.size(1)
        self.used = end
        mask, causal = self._mask(x.size(1), end, plens)
        cos, sin = (t.to(self.dtype)[:, None] for t in self.rotary(x.float(), positions))
        for layer, (keys, values) in zip(self.layers, self.cache, strict=True):
            y = F.rms_norm(x, x.shape[-1:], layer.attention_norm, layer.eps)
            qkv = F.linear(y, layer.qkv).unflatten(-1, (3 * self.heads, -1)).transpose(1, 2)
            rotated, v = qkv[:, : 2 * self.heads], qkv[:, 2 * self.heads :]
            first, second = rotated.chunk(2, -1)
            rotated = rotated * cos + torch.cat([-second, first], -1) * sin
            q, k = rotated.chunk(2, 1)
            keys[:, :, start:end] = k
            values[:, :, start:end] = v
            y = F.scaled_dot_product_attention(
                q, keys[:, :, :end], values[:, :, :end], attn_mask=mask, is_causal=causal
            )
            x = x + F.linear(y.transpose(1, 2).flatten(2), layer.out)
            y = F.rms_norm(x, x.shape[-1:], layer.ffn_norm, layer.eps)
            gate, up = F.linear(y, layer.gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        return F.rms_norm(x, x.shape[-1:], self.norm, self.eps)

    def _mask(self, new: int, end: int, plens: Tensor | None):
        """(mask, is_causal) of scaled_dot_product_attention; no mask where none is needed."""
        if plens is not None and bool((plens < end).any()):
            index = torch.arange(self.cache.size(-2), device=plens.device)
            self.hidden = ((index < plens[:, None]) | (index >= end))[:, None, None]
        if self.hidden is None:
            return None, new > 1
        mask = self.hidden[..., :end]
        if new > 1:
            square = torch.ones(new, end, dtype=torch.bool, device=mask.device)
            itself = torch.eye(new, end, dtype=torch.bool, device=mask.device)
            mask = (mask & square.tril()) | itself
        return mask, False


def _fuse(lm: TokenLM, dtype: torch.dtype) -> list[_Layer]:
    layers = []
    for layer in lm.llama.layers:
        attention, mlp = layer.self_attn, layer.mlp
        qkv = (attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)
        layers.append(
            _Layer(
                layer.input_layernorm.weight.to(dtype),
                torch.cat(qkv).to(dtype),
                attention.o_proj.weight.to(dtype),
                layer.post_attention_layernorm.weight.to(dtype),
                torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)).to(dtype),
                mlp.down_proj.weight.to(dtype),
                layer.input_layernorm.variance_epsilon,
            )
        )
    return layers
