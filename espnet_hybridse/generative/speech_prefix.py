"""The prefix of the language model: a frozen encoder's features of the degraded speech, adapted."""

import torch
from torch import Tensor, nn

from espnet_hybridse.encoders.feature_cache import FeatureCache
from espnet_hybridse.encoders.semantic import SemanticEncoder
from espnet_hybridse.nn.spectrum import WINDOW_MS, n_fft, overlapped

SPEECH_FS = 16000
"""Rate of the semantic encoder and of the tokens (Hz)."""


class SpeechPrefix(nn.Module):
    """The part of the generative branch that hears: a base class, whose names its checkpoints keep.

    Owns the frozen encoder, the mix of its layers, the adapter and the features kept on disk, and
    refuses weights that were trained on another encoder. Call :meth:`make_prefix` in the
    constructor, after nn.Module's.
    """

    def make_prefix(
        self,
        semantic: str,
        semantic_conf: dict | None,
        dim: int,
        feature_cache: str | None,
        feature_cache_gb: float,
    ) -> None:
        """Make the parts.

        Args:
            semantic: back end of SemanticEncoder.
            semantic_conf: its other arguments; `layer: learned` learns a softmax mix of all hidden
                states.
            dim: size of the prefix's vectors.
            feature_cache, feature_cache_gb: folder of FeatureCache, or null, and what it may hold.
        """
        conf = dict(semantic_conf or {})
        learned = conf.get("layer") == "learned"
        if learned:
            del conf["layer"]
        encoder = SemanticEncoder(semantic, **conf)
        # Kept out of the module registry: frozen weights belong neither to the optimiser nor to
        # every checkpoint; _apply moves them with the rest.
        object.__setattr__(self, "semantic", encoder)
        self.cache_conf = (feature_cache, feature_cache_gb)
        self.feature_cache: FeatureCache | None = None
        self.register_buffer("semantic_sha256", encoder.fingerprint())
        self.layer_weights = nn.Parameter(torch.zeros(encoder.num_layers)) if learned else None
        self.adapter = nn.Linear(encoder.dim, dim)
        window = torch.hann_window(n_fft(SPEECH_FS, WINDOW_MS["gen"]))
        self.register_buffer("window", window, persistent=False)

    def _apply(self, fn, recurse: bool = True):
        self.semantic._apply(fn)
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state, prefix, metadata, strict, missing, extra, errors):
        """Refuse weights that were trained on another encoder's features."""
        key = prefix + "semantic_sha256"
        # Checkpoints made before the fingerprint was kept are taken on trust.
        theirs = state.setdefault(key, self.semantic_sha256)
        if not torch.equal(theirs.cpu(), self.semantic_sha256.cpu()):
            ours, name = _hex(self.semantic_sha256), self.semantic.encoder.id
            errors.append(
                f"the weights were trained with a speech encoder of sha256 {_hex(theirs)}…, but "
                f"semantic_conf gives {name!r} with {ours}…; "
                "name the encoder of the training in semantic_conf: {model: …}"
            )
        super()._load_from_state_dict(state, prefix, metadata, strict, missing, extra, errors)

    def _prefix(self, x16: Tensor, nlens: Tensor, repeats: bool = False) -> Tensor:
        """Normalised 16 kHz spectrum (B, T, 321) -> adapted semantic features (B, T - 1, dim).

        `repeats`: the audio is that of training or validation, whose features may be kept.
        """
        hop = self.window.numel() // 2
        wav = overlapped(x16, hop, self.window, (x16.size(1) - 1) * hop)
        learned = self.layer_weights is not None
        compute = self.semantic.hidden_states if learned else self.semantic
        if repeats and self.cache_conf[0]:
            if self.feature_cache is None:
                kind = f"{_hex(self.semantic_sha256)} {'all' if learned else self.semantic.layer}"
                self.feature_cache = FeatureCache(self.cache_conf[0], kind, self.cache_conf[1])
            features = self.feature_cache.through(
                lambda *given: compute(*given)[0], wav, nlens * hop, nlens
            )
        else:
            features, _ = compute(wav, nlens * hop)
        if learned:
            features = torch.einsum("bnld,l->bnd", features, self.layer_weights.softmax(0))
        return self.adapter(features)


def _hex(digest: Tensor) -> str:
    return bytes(digest[:6].to(torch.uint8).tolist()).hex()
