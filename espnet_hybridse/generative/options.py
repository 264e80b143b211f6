"""Options of the generative branch, in groups; a configuration names them side by side."""

from dataclasses import dataclass

from torch import nn

from espnet_hybridse.generative.banded_refiner import BandedRefiner
from espnet_hybridse.generative.refiner import Refiner
from espnet_hybridse.generative.speech_prefix import SPEECH_FS
from espnet_hybridse.generative.token_lm import TokenLM

REFINER_FS = SPEECH_FS
"""Rate of the refiner, as in the paper (Hz)."""


@dataclass(frozen=True)
class PrefixOptions:
    """What the language model hears.

    Attributes:
        semantic: "wavlm" (paper), "s3prl" or "whisper".
        semantic_conf: `model`, `layer` and `upstream` of SemanticEncoder; `layer: learned` learns
            a softmax mix of all hidden states.
        feature_cache, feature_cache_gb: folder that keeps the encoder's features of training and
            validation, and what it may hold; see FeatureCache. Not read in inference.
    """

    semantic: str = "wavlm"
    semantic_conf: dict | None = None
    feature_cache: str | None = None
    feature_cache_gb: float = 50.0


@dataclass(frozen=True)
class LMOptions:
    """The language model.

    Attributes:
        vocab_size: number of tokens (paper: 1024).
        use_tokens: False leaves out the LM: the refiner attends to the adapter's output.
        lm_layers, lm_dim, lm_heads, lm_ffn, lm_dropout, lm_positions: see TokenLM
            (paper: 12 layers of 512).
    """

    vocab_size: int = 1024
    use_tokens: bool = True
    lm_layers: int = 12
    lm_dim: int = 512
    lm_heads: int = 8
    lm_ffn: int = 2048
    lm_dropout: float = 0.1
    lm_positions: str = "aligned"

    def build(self) -> TokenLM | None:
        """Return the LM, or None without tokens."""
        if not self.use_tokens:
            return None
        sizes = (self.vocab_size, self.lm_layers, self.lm_dim, self.lm_heads, self.lm_ffn)
        return TokenLM(*sizes, self.lm_dropout, self.lm_positions)


@dataclass(frozen=True)
class RefinerOptions:
    """The refiner.

    Attributes:
        channels, downs, blocks, hidden, heads, bidirectional, compression, mask_limit, residual:
            see Refiner.
        grown_from: blocks from this number on begin as identity, so that `--init` with a model of
            fewer blocks starts where that one stood; null: all begin at random.
        bands: merge bins into bands, see BandedRefiner (our choice; the paper has none).
        refiner_fs: 16000 as in the paper (nothing above 8 kHz comes out), or "native": the same
            weights run over all bins of the input's rate.

    Raises:
        ValueError: another `refiner_fs`, or `grown_from` outside the blocks.
    """

    channels: int = 64
    downs: int = 3
    blocks: int = 4
    hidden: int = 128
    heads: int = 4
    bidirectional: bool = False
    compression: float = 0.3
    mask_limit: float = 3.0
    residual: bool = False
    bands: bool = False
    refiner_fs: int | str = REFINER_FS
    grown_from: int | None = None

    def __post_init__(self):
        if str(self.refiner_fs) not in ("16000", "native"):
            raise ValueError(f"refiner_fs={self.refiner_fs!r} is not 16000 or 'native'")
        if self.grown_from is not None and not 0 <= self.grown_from < self.blocks:
            raise ValueError(
                f"grown_from={self.grown_from}: expected the number of blocks that the model of "
                f"--init has, 0 to {self.blocks - 1}, or null"
            )

    def build(self, state_dim: int) -> nn.Module:
        """Return the refiner of states of `state_dim` numbers."""
        sizes = (self.channels, self.downs, self.blocks, self.hidden, self.heads)
        kind = BandedRefiner if self.bands else Refiner
        refiner = kind(
            state_dim,
            *sizes,
            self.bidirectional,
            self.compression,
            self.mask_limit,
            self.residual,
        )
        if self.grown_from is not None:
            for block in refiner.blocks[self.grown_from :]:
                block.start_as_identity()
        return refiner


@dataclass(frozen=True)
class NoiseOptions:
    """Against exposure bias, in training only.

    Attributes:
        state_noise: standard deviation, relative to the states' RMS, of noise on the states, so
            that the refiner does not rely on gold tokens.
        history_noise: share of history tokens replaced by random ones, against errors that copy
            their predecessors.
        free_running_prob: share of training batches whose history is decoded instead of gold.
            Targets stay gold: tokens are bound to frames, so they stay right whatever came before.

    Raises:
        ValueError: a share outside [0, 1].
    """

    state_noise: float = 0.0
    history_noise: float = 0.0
    free_running_prob: float = 0.0

    def __post_init__(self):
        for name in ("history_noise", "free_running_prob"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}={getattr(self, name)} must lie in [0, 1]")
