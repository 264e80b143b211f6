"""Autoregressive decoding of TokenLM with a static cache: the fast path, equal to `forward`."""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet_hybridse.generative.decode_weights import StepWeights, paired
from espnet_hybridse.generative.sampling import GREEDY, Sampling
from espnet_hybridse.generative.token_lm import TokenLM
from espnet_hybridse.nn.batching import on_device
from espnet_hybridse.nn.precision import in_float32


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
            on a GPU. `weights` keep the recordings: where they change, one would be made each time.
        history: (B, N) tokens to continue from instead of the ones picked; `tokens` are then the
            picks that each history leads to.

    Raises:
        ValueError: steps < 1.
    """
    if steps < 1:
        raise ValueError(f"steps={steps} must be >= 1")
    graph = prefix.is_cuda if graph is None else graph
    # The ambient autocast would cast every weight at every step; and streams and graphs are those
    # of the current device, which need not be the model's.
    with in_float32(prefix), current(prefix.device):
        weights = weights or StepWeights(lm)
        prefix_in_type = prefix.to(lm.bos.dtype)
        shape = _Shape(len(prefix), prefix.size(1), steps, history is not None)
        stepper = weights.recorded.pop((shape, sampling), None) if graph else None
        if stepper is None:
            stepper = _Stepper(lm, weights, shape, sampling, graph)
        stepper.load(lm, prefix_in_type, plens, history)
        stepper.run()
        tokens, states = stepper.tokens, stepper.states.to(prefix.dtype)
        if graph:
            tokens, states = tokens.clone(), states.clone()
            weights.keep((shape, sampling), stepper)
    return Decoded(tokens, states)


def current(device: torch.device) -> AbstractContextManager:
    """Make a GPU the current one; nothing for a CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class _Shape(NamedTuple):
    """What a recorded step holds for: batch, prefix frames, steps, whether a history is given."""

    batch: int
    frames: int
    steps: int
    has_history: bool


class _Stepper:
    """Batches of one shape being decoded, one after the other.

    Everything a step reads or writes lies at a fixed address and its position is a tensor, so that
    the very same step can be recorded as a CUDA graph, once for all batches. Recorded (`static`),
    it attends to the whole cache under a mask; else only to what is filled.
    """

    def __init__(
        self, lm: TokenLM, weights: StepWeights, shape: _Shape, sampling: Sampling, static: bool
    ):
        batch, self.filled, self.steps, _ = shape
        self.weights, self.sampling, self.static = weights, sampling, static
        self.heads = lm.llama.heads
        device, dtype, dim = lm.bos.device, weights.dtype, lm.dim
        slots = self.filled + self.steps
        size = (len(weights.layers), 2, batch, self.heads, slots, dim // self.heads)
        self.cache = torch.zeros(size, dtype=weights.cache_dtype, device=device)
        self.buffers = _Buffers(weights, batch, dim, self.heads, device)
        self.visible: Tensor | None = None
        if static:
            self.visible = torch.ones(batch, 1, 1, slots, dtype=torch.bool, device=device)
        self.turns: Tensor | None = None
        self.uniforms = sampling.uniforms(self.steps, device)
        self.history: Tensor | None = None
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        self.slots = torch.arange(slots, device=device)
        self.x = self.buffers.x
        self.tokens = torch.zeros(batch, self.steps, dtype=torch.long, device=device)
        self.states = torch.zeros(batch, self.steps, dim, dtype=dtype, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None

    @property
    def records(self) -> bool:
        """Whether there is a device that can record a step."""
        return self.x.is_cuda

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.cache.numel() * self.cache.element_size()

    def load(self, lm: TokenLM, prefix: Tensor, plens: Tensor, history: Tensor | None) -> None:
        """Take in a batch; arguments as of :func:`decode`."""
        padded = int(plens.min()) < self.filled
        plens = on_device(plens, prefix.device)
        for ours, theirs in zip(self.cache, _prefix_cache(lm, prefix, plens), strict=True):
            ours[0, :, :, : self.filled], ours[1, :, :, : self.filled] = theirs
        positions = lm.first_position(plens)[:, None] + self.slots[: self.steps]
        turns = _turns(lm, positions)
        visible = _visible(plens, self.filled, self.steps) if padded else None
        if self.static:
            self.visible.copy_(visible) if padded else self.visible.fill_(True)
        else:
            self.visible = visible
        if self.static and self.turns is not None:  # recorded: the same addresses
            self.turns.copy_(turns)
            if history is not None:
                self.history.copy_(history)
        else:
            self.turns, self.history = turns, None if history is None else history.clone()
        self.step.zero_()
        self.x.copy_(self.weights.bos)

    def run(self) -> None:
        """All steps."""
        if not self.static:
            for step in range(self.steps):
                self.advance(step)
            return
        if self.records and self.graph is None:
            self._record()
        replay = self.graph.replay if self.graph is not None else partial(self.advance, None)
        for _ in range(self.steps):
            replay()

    def _record(self) -> None:
        """Record one step, on a side stream, after its kernels have loaded there."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.advance(None)
        torch.cuda.current_stream().wait_stream(stream)
        self.step.zero_()
        self.x.copy_(self.weights.bos)
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: the loader's pins memory meanwhile, which would spoil the recording.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.advance(None)
        self.graph = graph

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
    turn = torch.complex(*lm.llama.rotation(positions)).transpose(0, 1)
    return torch.stack([turn, turn, torch.ones_like(turn)], 2)[:, :, :, None]


def _prefix_cache(lm: TokenLM, prefix: Tensor, plens: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values (B, heads, P, H / heads) of every layer."""
    frames = prefix.size(1)
    mask, positions = lm.mask(plens, frames, 0), lm.positions_of(plens, frames, 0)
    _, kept = lm.llama(lm.embed_prefix(prefix), mask, positions)
    return [(paired(keys), values) for keys, values in kept]


def _visible(plens: Tensor, frames: int, steps: int) -> Tensor:
    """(B, 1, 1, P + N), False on prefix padding."""
    index = torch.arange(frames + steps, device=plens.device)
    return ((index < plens[:, None]) | (index >= frames))[:, None, None]
