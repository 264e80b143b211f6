"""The weights of a TokenLM in the form in which single steps read them fastest."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from espnet_hybridse.generative.llama import EPS
from espnet_hybridse.generative.token_lm import TokenLM

DTYPES = ("float32", "bfloat16", "int8")
RECORDED_BYTES = 2**31
"""What may be kept of keys and values beside CUDA graphs, one set for each shape of batch."""


class Product(ABC):
    """The product of a few rows (B, K) with one fused weight."""

    @abstractmethod
    def into(self, out: Tensor, x: Tensor) -> Tensor:
        """Write it to `out` (B, M) and return that."""

    @abstractmethod
    def onto(self, total: Tensor, x: Tensor) -> None:
        """Add it to `total` (B, M)."""


class PlainProduct(Product):
    """In the weight's own type."""

    def __init__(self, weight: Tensor):
        # Transposed in memory: a product of few rows then reads the weight front to back, measured
        # 1.2 to 1.6 times as fast on CPU as with rows of (out, in).
        self.weight = weight.t().contiguous()

    def into(self, out: Tensor, x: Tensor) -> Tensor:
        if out.dtype == x.dtype:
            return torch.mm(x, self.weight, out=out)
        return out.copy_(x @ self.weight)

    def onto(self, total: Tensor, x: Tensor) -> None:
        total.addmm_(x, self.weight)


class Int8Product(Product):
    """With int8 weights, a scale per output, and inputs brought to int8 by one scale."""

    def __init__(self, weight: Tensor):
        scales = weight.abs().amax(1).clamp_min(1e-12).double() / 127
        zeros = torch.zeros(len(weight), dtype=torch.long)
        quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(quantized, None)
        # Without VNNI sums of two products are kept in 16 bits, where full-range inputs overflow.
        self.narrow = not torch.cpu._is_vnni_supported()

    def into(self, out: Tensor, x: Tensor) -> Tensor:
        return out.copy_(self._product(x))

    def onto(self, total: Tensor, x: Tensor) -> None:
        total.add_(self._product(x))

    def _product(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic(x, self.packed, reduce_range=self.narrow)


class StepLayer(NamedTuple):
    """One LLaMA layer: query, key and value, and gate and up are one product each.

    The scales of the norms are part of the products that follow them. Query and key keep the two
    numbers that a rotary embedding turns together side by side (see :func:`paired`).
    """

    qkv: Product
    out: Product
    gate_up: Product
    down: Product


class StepWeights:
    """All layers, embedding and head, fused once.

    Args:
        lm: the model; it is read, never changed.
        dtype: one of DTYPES. "int8" (CPU only) keeps weights as int8 with a scale per output and
            brings each step's inputs to int8 too, with one scale for the batch; keys and values
            are bfloat16, everything else stays float32.

    Raises:
        ValueError: an unknown type, or int8 where there are no kernels for it.
    """

    def __init__(self, lm: TokenLM, dtype: str = "float32"):
        if dtype not in DTYPES:
            raise ValueError(f"decode_dtype={dtype!r} is not one of {', '.join(DTYPES)}")
        if dtype == "int8" and lm.bos.is_cuda:
            raise ValueError("decode_dtype='int8' runs on CPU only; on a GPU take 'bfloat16'")
        self.vocab_size, self.ffn = lm.vocab_size, lm.llama.ffn
        self.key, self.heads = _key(lm), lm.llama.heads
        self.dtype = torch.bfloat16 if dtype == "bfloat16" else torch.float32
        # Keys and values weigh as much as int8 weights once they are a few hundred, so they are
        # halved there too.
        self.cache_dtype = torch.float32 if dtype == "float32" else torch.bfloat16
        fuse = Int8Product if dtype == "int8" else PlainProduct
        with torch.no_grad():
            self.layers = [self._layer(layer, fuse) for layer in lm.llama.layers]
            self.embedding = lm.llama.embed_tokens.weight.detach().to(self.dtype)
            self.bos = lm.bos.detach().to(self.dtype)
            self.norm = (lm.llama.norm.weight * lm.dim**0.5).to(self.dtype)
            self.head = fuse(lm.head.weight.to(self.dtype))
        self.recorded: dict[Hashable, Any] = {}
        self.eps = EPS
        read = [p for p in lm.llama.layers.parameters() if p.dim() > 1]
        self._numbers = sum(p.numel() for p in (*read, lm.head.weight))
        self._width = 1 if dtype == "int8" else self.dtype.itemsize

    def keep(self, key: Hashable, recorded: Any) -> None:
        """Keep what was recorded with these weights (it has `nbytes`); what was used last stays."""
        self.recorded[key] = recorded
        while len(self.recorded) > 1 and self._kept_bytes() > RECORDED_BYTES:
            del self.recorded[next(iter(self.recorded))]

    def _kept_bytes(self) -> int:
        return sum(recorded.nbytes for recorded in self.recorded.values())

    @property
    def nbytes(self) -> int:
        """Bytes that every step reads, keys and values aside."""
        return self._numbers * self._width

    def fits(self, lm: TokenLM) -> bool:
        """Whether `lm` still holds the values these were made from."""
        return self.key == _key(lm)

    def _layer(self, layer: nn.Module, fuse: Callable[[Tensor], Product]) -> StepLayer:
        attention, mlp = layer.self_attn, layer.mlp
        before, after = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        heads, root = self.heads, before.numel() ** 0.5
        inputs = [
            paired(attention.q_proj.weight.t().unflatten(1, (heads, -1))).flatten(1).t(),
            paired(attention.k_proj.weight.t().unflatten(1, (heads, -1))).flatten(1).t(),
            attention.v_proj.weight,
        ]
        gates = [mlp.gate_proj.weight, mlp.up_proj.weight]
        weights = (
            torch.cat(inputs) * before * root,
            attention.o_proj.weight,
            torch.cat(gates) * after * root,
            mlp.down_proj.weight,
        )
        return StepLayer(*(fuse(weight.to(self.dtype)) for weight in weights))


def paired(x: Tensor) -> Tensor:
    """Reorder (…, d) from LLaMA's halves to pairs that hold one number of each half."""
    return x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)


def _key(lm: TokenLM) -> tuple:
    """Changes whenever a parameter is replaced, moved or written to."""
    return tuple((p.data_ptr(), p._version, p.device) for p in lm.parameters())
