"""Autoregressive decoding of TokenLM with a static cache: the fast path, equal to `forward`."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet_hybridse.generative.decode_weights import StepWeights, paired
from espnet_hybridse.generative.sampling import GREEDY, Sampling
from espnet_hybridse.generative.token_lm import TokenLM
from espnet_hybridse.nn.batching import on_device


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
    sampling: Sampling = GREEDY,
    weights: StepWeights | None = None,
    graph: bool | None = None,
    history: Tensor | None = None,
) -> Decoded:
    """Predict `steps` tokens for every utterance of a batch.

    No end token exists: prefix, tokens and refiner frames are all 50 Hz, so the length is known.
    Utterances shorter than `steps` are decoded on; the caller drops the excess. The prefix is
    computed by `lm` itself, in one pass; then every step reads `weights` once for the whole batch.

    Args:
        lm: the model.
        prefix: (B, P, H) adapter output.
        plens: (B,) valid prefix frames; best on the CPU, where they are read without waiting.
        steps: tokens to predict, N.
        sampling: how a token is picked.
        weights: made from `lm` beforehand, for many calls or in another type; None fuses them now.
        graph: replay the step as a CUDA graph, without which a GPU waits for Python; None does so
            on a GPU.
        history: (B, N) tokens to continue from instead of the ones picked; `tokens` are then the
            picks that each history leads to.

    Raises:
        ValueError: steps < 1.
    """
    if steps < 1:
        raise ValueError(f"steps={steps} must be >= 1")
    graph = prefix.is_cuda if graph is None else graph
    # The ambient autocast would cast every weight at every step.
    with torch.autocast(prefix.device.type, enabled=False):
        weights = weights or StepWeights(lm)
        stepper = _Stepper(lm, weights, prefix.to(lm.bos.dtype), plens, steps, sampling, graph)
        stepper.history = history
        stepper.run()
    return Decoded(stepper.tokens, stepper.states.to(prefix.dtype))


class _Stepper:
    """One batch being decoded.

    Everything a step reads or writes lies at a fixed address and its position is a tensor, so that
    the very same step can be recorded as a CUDA graph. Recorded (`static`), it attends to the
    whole cache under a mask; else only to what is filled.
    """

    def __init__(
        self,
        lm: TokenLM,
        weights: StepWeights,
        prefix: Tensor,
        plens: Tensor,
        steps: int,
        sampling: Sampling,
        static: bool,
    ):
        batch, self.filled, dim = prefix.shape
        self.weights, self.sampling, self.static = weights, sampling, static
        self.heads, self.steps = lm.llama.config.num_attention_heads, steps
        device, dtype, layers = prefix.device, weights.dtype, len(weights.layers)
        size = (layers, 2, batch, self.heads, self.filled + steps, dim // self.heads)
        self.cache = torch.zeros(size, dtype=weights.cache_dtype, device=device)
        padded = int(plens.min()) < self.filled
        plens = on_device(plens, device)
        for ours, theirs in zip(self.cache, _prefix_cache(lm, prefix, plens), strict=True):
            ours[0, :, :, : self.filled], ours[1, :, :, : self.filled] = theirs
        self.buffers = _Buffers(weights, batch, dim, self.heads, device)
        self.visible = _visible(plens, self.filled, steps) if padded else None
        if static and self.visible is None:
            self.visible = torch.ones(1, 1, 1, size[4], dtype=torch.bool, device=device)
        positions = lm.first_position(plens)[:, None] + torch.arange(steps, device=device)
        self.turns = _turns(lm, positions)
        self.uniforms = sampling.uniforms(steps, device)
        self.history: Tensor | None = None
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        self.slots = torch.arange(size[4], device=device)
        self.x = self.buffers.x
        self.x.copy_(weights.bos)
        self.tokens = torch.zeros(batch, steps, dtype=torch.long, device=device)
        self.states = torch.zeros(batch, steps, dim, dtype=dtype, device=device)

    def run(self) -> None:
        """All steps."""
        if not (self.static and self.x.is_cuda):
            for step in range(self.steps):
                self.advance(step)
            return
        # A graph is recorded on a side stream, after the kernels have loaded there.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.advance(0)
        torch.cuda.current_stream().wait_stream(stream)
        if self.steps == 1:
            return
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.advance(None)
        for _ in range(1, self.steps):
            graph.replay()

    def advance(self, step: int | None) -> None:
        """One token for every utterance. `step` None: the number is only on the device."""
        at = self.step if self.static else slice(step, step + 1)
        token, state = self._token(at)
        follows = token if self.history is None else self.history[:, at].squeeze(1)
        if self.static:
            self.tokens.index_copy_(1, at, token[:, None])
            self.states.index_copy_(1, at, state[:, None])
            self.step += 1
        else:
            self.tokens[:, step], self.states[:, step] = token, state
        self.x.copy_(F.embedding(follows, self.weights.embedding))

    def _token(self, at: Tensor | slice) -> tuple[Tensor, Tensor]:
        weights, given, x = self.weights, self.buffers, self.x
        turns = self.turns[at][0]
        if self.static:
            mask, end = self.visible & (self.slots <= self.step + self.filled), self.slots.numel()
        else:
            end = self.filled + at.stop
            mask = None if self.visible is None else self.visible[..., :end]
        past = self.cache.narrow(4, 0, end).flatten(0, 1).unbind()
        slots = (self.cache if self.static else self.cache.select(4, end - 1)).unbind()
        for index, layer in enumerate(weights.layers):
            layer.qkv.into(given.qkv, given.normed())
            given.pairs.mul_(turns)
            if self.static:
                new = given.key_value.unsqueeze(3).to(self.cache.dtype)
                slots[index].index_copy_(3, self.step + self.filled, new)
            else:
                slots[index].copy_(given.key_value)
            query = given.query.to(self.cache.dtype)
            keys, values = past[2 * index], past[2 * index + 1]
            y = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            layer.out.onto(x, y.flatten(1).to(x.dtype))
            layer.gate_up.into(given.gate_up, given.normed())
            torch.mul(F.silu(given.gate, inplace=True), given.up, out=given.inner)
            layer.down.onto(x, given.inner)
        state = given.normed() * weights.norm
        logits = weights.head.into(given.logits, state)
        uniform = None if self.uniforms is None else self.uniforms[at]
        return self.sampling.pick(logits, uniform), state


class _Buffers:
    """What a step writes, with every view of it made once: on CPU a small operation costs as much
    as reading 50 kB of weights, and there would be thirty of them in each layer."""

    def __init__(self, weights: StepWeights, batch: int, dim: int, heads: int, device):
        def empty(*shape: int, dtype: torch.dtype = weights.dtype) -> Tensor:
            return torch.empty(batch, *shape, dtype=dtype, device=device)

        # A last column of sqrt(H eps) makes the norm of a row sqrt(H) times its RMS with eps.
        self.extended = empty(dim + 1)
        self.extended[:, -1] = math.sqrt(dim * weights.eps)
        self.x, self.scaled, self.size = self.extended[:, :-1], empty(dim), empty(1)
        self.qkv = empty(3 * dim, dtype=torch.float32)
        parted = self.qkv.view(batch, 3, heads, -1)
        self.pairs = torch.view_as_complex(parted.unflatten(-1, (-1, 2)))
        self.query = parted[:, 0, :, None]
        self.key_value = parted[:, 1:].transpose(0, 1)
        self.gate_up, self.inner = empty(2 * weights.ffn), empty(weights.ffn)
        self.gate, self.up = self.gate_up.chunk(2, -1)
        self.logits = empty(weights.vocab_size)

    def normed(self) -> Tensor:
        """`x` by sqrt(H) times the RMS of each row; the weights that follow hold the rest."""
        torch.linalg.vector_norm(self.extended, dim=-1, keepdim=True, out=self.size)
        return torch.div(self.x, self.size, out=self.scaled)


def _turns(lm: TokenLM, positions: Tensor) -> Tensor:
    """(N, B, 3, 1, d / 2) complex: what turns query and key at each step, and 1 for the value."""
    cos, sin = lm.llama.rotary_emb(lm.bos.float(), positions)
    turn = torch.complex(cos, sin)[..., : cos.size(-1) // 2].transpose(0, 1)
    return torch.stack([turn, turn, torch.ones_like(turn)], 2)[:, :, :, None]


def _prefix_cache(lm: TokenLM, prefix: Tensor, plens: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values (B, heads, P, H / heads) of every layer."""
    frames = prefix.size(1)
    cache = lm.llama(
        inputs_embeds=lm.embed_prefix(prefix),
        attention_mask=lm.mask(plens, frames, 0),
        position_ids=lm.positions_of(plens, frames, 0),
        use_cache=True,
    ).past_key_values
    return [(paired(layer.keys), layer.values) for layer in cache.layers]


def _visible(plens: Tensor, frames: int, steps: int) -> Tensor:
    """(B, 1, 1, P + N), False on prefix padding."""
    index = torch.arange(frames + steps, device=plens.device)
    return ((index < plens[:, None]) | (index >= frames))[:, None, None]
