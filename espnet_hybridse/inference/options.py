"""What may be said of an inference, beside the model and the device."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any

from espnet_hybridse.inference.gate import GATES

DTYPES = ("float32", "bfloat16", "auto")
PIECE_S = 10.0
"""Of a model that was trained on whole utterances, or by somebody else (our choice)."""


@dataclass(frozen=True)
class Options:
    """Options of an :class:`~espnet_hybridse.inference.enhancer.Enhancer`.

    Attributes:
        segment_s: longest piece processed at once, in seconds; longer audio is cut into
            overlapping pieces that are cross-faded, so memory does not grow with its length. None
            takes what the model was trained on, see :func:`piece_of`.
        batch: pieces or files processed at once; memory grows with it. None takes what suits the
            model and the device. Halved where memory runs out.
        mix: 0 to 1: share of the enhanced signal in the result, the rest is the input.
        attn_limit_db: most that anything is taken down by, in dB: so much of the input stays in
            the result (as in DeepFilterNet). None sets no limit.
        gate: "auto" decides by the recording how much of the enhancement it takes, see
            :mod:`espnet_hybridse.inference.gate`, and evens out level and offset before the
            network; "off" gives what the network gives.
        overlap_s: length of the cross-fade in seconds; None takes 1 s, or a sixth of a piece
            where that is less (our choice: a longer one costs time and changed no metric).
        lookahead_s: seconds that a piece hears beyond each end of its cross-fades without writing
            them; neighbours share overlap_s + 2 * lookahead_s, at most half of `segment_s`.
        shared_mask: of several channels, enhance one average and give all of them its gain, which
            keeps level and phase between them; else each channel is enhanced by itself.
        dtype: "float32", "bfloat16" or "auto" (bfloat16 where the device is fast at it) for the
            networks; None keeps what is configured. Spectra and samples stay in float32.
        decode_dtype: "float32", "bfloat16" or "int8" for the token decoding of the generative
            branch, instead of the configured type; int8 is the fastest on CPU.
        safety: 0 to 1, of a hybrid: how far its output moves to `safety_to` where its branches
            contradict each other. None keeps what is configured.
        safety_to: "disc" or "noisy".
        cpu_fallback: whether the CPU takes over where one piece does not fit into the GPU.

    Raises:
        ValueError: batch < 1, a `dtype` that is not known, a `mix` out of its range, a segment that
            is not positive or whose half is less than neighbours share.
    """

    segment_s: float | None = None
    batch: int | None = None
    mix: float = 1.0
    attn_limit_db: float | None = None
    gate: str = "auto"
    overlap_s: float | None = None
    lookahead_s: float = 0.0
    shared_mask: bool = False
    dtype: str | None = None
    decode_dtype: str | None = None
    safety: float | None = None
    safety_to: str = "disc"
    cpu_fallback: bool = False

    def __post_init__(self):
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch={self.batch} must be at least 1")
        if self.dtype not in (None, *DTYPES):
            raise ValueError(f"dtype={self.dtype!r} is not one of {', '.join(DTYPES)}")
        if not 0.0 <= self.mix <= 1.0:
            raise ValueError(
                f"mix={self.mix} must lie in [0, 1]: 0 is the input, 1 the enhanced signal"
            )
        if self.gate not in GATES:
            raise ValueError(f"gate={self.gate!r} is not one of {', '.join(GATES)}")
        if self.attn_limit_db is not None and not 0.0 <= self.attn_limit_db < inf:
            raise ValueError(f"attn_limit_db={self.attn_limit_db} must be 0 dB (nothing) or more")
        if self.segment_s is not None:
            self.seconds(self.segment_s)

    @property
    def share(self) -> float:
        """Return the share of the enhanced signal that `mix` and `attn_limit_db` leave."""
        if self.attn_limit_db is None:
            return self.mix
        return self.mix * (1.0 - 10 ** (-self.attn_limit_db / 20))

    def seconds(self, segment_s: float) -> tuple[float, float, float]:
        """Return segment, overlap and lookahead in seconds, where a piece has `segment_s`.

        Raises:
            ValueError: it has no room for what neighbours share.
        """
        overlap_s = min(1.0, segment_s / 6) if self.overlap_s is None else self.overlap_s
        shared_s = overlap_s + 2 * self.lookahead_s
        # Written such that NaN fails, too.
        fits = 0.1 <= segment_s < inf and 0 <= shared_s <= segment_s / 2
        if not fits or min(overlap_s, self.lookahead_s) < 0:
            raise ValueError(
                f"segment_s={segment_s}, overlap_s={overlap_s}, lookahead_s={self.lookahead_s}: a "
                "segment has at least 0.1 s, and overlap + 2 x lookahead is at most half of it"
            )
        return segment_s, overlap_s, self.lookahead_s

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Options":
        """Make them of names and values.

        Raises:
            TypeError: a name that is no option; the message lists those that are.
        """
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise TypeError(f"no option {name!r} of inference; there are {', '.join(names)}")
        return cls(**given)


def piece_of(config: Mapping) -> float:
    """Return the seconds of a piece that a model is used to: those of its training's crops.

    Networks that were trained on crops extrapolate on longer pieces.
    """
    chunk_s = (config.get("preprocessor_conf") or {}).get("chunk_s")
    if not chunk_s and config.get("iterator_type") == "chunk":
        # ESPnet's own iterator; of several lengths, as in "4000,8000-12000", the last is longest.
        length = re.findall(r"\d+", str(config.get("chunk_length")))
        fs = config.get("chunk_default_fs") or (config.get("encoder_conf") or {}).get("default_fs")
        chunk_s = int(length[-1]) / fs if length and fs else None
    return float(chunk_s or PIECE_S)
