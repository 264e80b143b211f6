"""Frozen semantic encoders: 50 Hz features of speech that the language model reads as a prefix."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_hybridse.encoders.weights_hash import weights_sha256
from espnet_hybridse.encoders.whisper import HOP, WhisperEncoder
from espnet_hybridse.fileio import assets
from espnet_hybridse.nn.batching import by_length, on_device, valid_mask

WAVLM_DEFAULT = "microsoft/wavlm-base-plus"
LEVEL = 0.05
"""RMS every utterance is brought to (-26 dB re full scale, the level of most speech corpora)."""


class SemanticError(ValueError):
    """The encoder cannot be loaded; the message says what was tried and what to do."""


class SemanticEncoder(nn.Module):
    """A pretrained speech encoder, frozen and always in eval mode.

    Args:
        backend: one of BACKENDS: "wavlm" (transformers, the paper's), "s3prl", "whisper".
        model: "wavlm": a Hugging Face id or a local folder (default microsoft/wavlm-base-plus).
            "whisper": "tiny.en" (default), "base", the folder of a CTranslate2 model, or a
            .safetensors file of the encoder.
            "s3prl": the path of a local checkpoint, for the default upstream that of a WavLM in
            its original format; None lets s3prl fetch what the upstream's name stands for.
        layer: "mean" of all hidden states (as UniSE), "last", or a number counted as in Python.
        upstream: "s3prl" only: the entry of its hub, e.g. "hubert_custom" or "wavlm_base_plus".

    Raises:
        SemanticError: unknown back end, or its weights are not available.
    """

    def __init__(
        self,
        backend: str = "wavlm",
        model: str | None = None,
        layer: str | int = "mean",
        upstream: str | None = None,
    ):
        super().__init__()
        if upstream is not None and backend != "s3prl":
            raise SemanticError(f"upstream {upstream!r} is for semantic: s3prl, not {backend}")
        if backend not in BACKENDS:
            raise SemanticError(f"semantic {backend!r} is not one of {', '.join(BACKENDS)}")
        if not isinstance(layer, int) and layer not in ("mean", "last"):
            raise SemanticError(f"layer {layer!r} is not 'mean', 'last' or a number")
        self.backend, self.layer = backend, layer
        self.encoder = BACKENDS[backend](model, *([upstream] if upstream else []))
        if isinstance(layer, int) and not -self.num_layers <= layer < self.num_layers:
            raise SemanticError(
                f"layer {layer} is outside the {self.num_layers} hidden states of {self.encoder.id}"
            )
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> "SemanticEncoder":
        """Stay in eval mode: dropout in a frozen encoder would only blur the features."""
        return self

    @property
    def dim(self) -> int:
        """Size of one feature vector."""
        return self.encoder.dim

    @property
    def num_layers(self) -> int:
        """Number of hidden states, the input of the first layer included."""
        return self.encoder.num_states

    def describe(self) -> dict[str, str]:
        """Back end, id and hash of the weights, for configs and manifests."""
        return {
            "backend": self.backend,
            "id": self.encoder.id,
            "layer": self.layer,
            "hash": weights_sha256(self.encoder),
        }

    def fingerprint(self) -> Tensor:
        """(32,) float32: the bytes of the weights' sha256, for checkpoints.

        Floats, because ESPnet averages every tensor of its best checkpoints and leaves only equal
        floats as they were.
        """
        return torch.tensor(list(bytes.fromhex(weights_sha256(self.encoder)))).float()

    @torch.no_grad()
    def hidden_states(self, wav: Tensor, ilens: Tensor) -> tuple[Tensor, Tensor]:
        """All hidden states: (B, S) 16 kHz, (B,) samples -> (B, N, L, D), (B,) frames.

        Each utterance is brought to one level over its valid samples and computed without
        padding, so neither its loudness nor its neighbours in the batch matter.
        """
        olens = -(-ilens // HOP)
        length = int(olens.max()) * HOP
        wav = F.pad(wav[:, :length], (0, max(0, length - wav.size(1))))
        frames = (wav * valid_mask(ilens, length, wav.device)).unflatten(1, (-1, HOP))
        samples = on_device(ilens, wav.device)[:, None].clamp(min=1)

        def process(part: Tensor, rows: Tensor) -> Tensor:
            x = part.flatten(1)
            power = x.square().sum(1, keepdim=True) / samples[rows]
            return self.encoder(x * (LEVEL / power.add(1e-12).sqrt()))

        return by_length(process, frames, olens), olens

    def forward(self, wav: Tensor, ilens: Tensor) -> tuple[Tensor, Tensor]:
        """Features of 16 kHz speech.

        Args:
            wav: (B, S).
            ilens: (B,) valid samples, best on the CPU.

        Returns:
            (B, ceil(S / 320), dim), zeros past an utterance's end, and (B,) valid frames.
        """
        states, olens = self.hidden_states(wav, ilens)
        return (states.mean(2) if self.layer == "mean" else states[:, :, self._index]), olens

    @property
    def _index(self) -> int:
        return -1 if self.layer == "last" else int(self.layer)


class _WavLM(nn.Module):
    """WavLM through transformers."""

    def __init__(self, model: str | None):
        super().__init__()
        from transformers import WavLMModel

        self.id = model or WAVLM_DEFAULT
        if Path(self.id).name == "config.json":  # ESPnet's zips name files, not folders
            self.id = str(Path(self.id).parent)
        try:
            self.model = WavLMModel.from_pretrained(self.id)
        except (OSError, ValueError) as error:
            raise SemanticError(
                f"WavLM {self.id!r} could not be loaded; give a local folder made by "
                "save_pretrained (semantic_conf: {model: DIR}), allow access to the model hub, "
                f"or use semantic: whisper, which works offline. Cause: {error}"
            ) from error
        config = self.model.config
        self.dim, self.num_states = config.hidden_size, config.num_hidden_layers + 1
        # The "large" models were trained on standardised audio, the "base" ones on raw audio.
        self.standardise = config.feat_extract_norm == "layer"

    def forward(self, wav: Tensor) -> Tensor:
        if self.standardise:
            wav = F.layer_norm(wav, wav.shape[1:])
        states = self.model(_pad_for_hop(wav), output_hidden_states=True).hidden_states
        return torch.stack(list(states), dim=2)


class _S3prl(nn.Module):
    """Any upstream of s3prl that makes 50 frames a second."""

    def __init__(self, model: str | None, upstream: str = "wavlm_local"):
        super().__init__()
        if (model is None and upstream.endswith(("_local", "_custom"))) or (
            model is not None and not Path(model).is_file()
        ):
            raise SemanticError(
                f"semantic: s3prl needs semantic_conf: {{model: PATH of a checkpoint}} for its "
                f"upstream {upstream!r}, got {model!r}"
            )
        try:
            from s3prl.nn import S3PRLUpstream
        except ImportError as error:
            raise SemanticError(
                f"s3prl does not import ({error}); pip install espnet-s3prl"
            ) from error
        if upstream not in S3PRLUpstream.available_names():
            raise SemanticError(
                f"upstream {upstream!r} is not in s3prl's hub; take wavlm_local, wavlm_base_plus, "
                "hubert_custom, wav2vec2_custom, … (s3prl.hub.options())"
            )
        try:
            self.model = S3PRLUpstream(upstream, path_or_url=None if model is None else str(model))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SemanticError(
                f"s3prl's {upstream!r} could not be loaded from {model!r}: {error}"
            ) from error
        if set(self.model.downsample_rates) != {HOP}:
            raise SemanticError(
                f"s3prl's {upstream!r} has hops of {sorted(set(self.model.downsample_rates))} "
                f"samples; tokens and refiner need {HOP} (50 frames a second)"
            )
        self.id = upstream if model is None else Path(model).name
        self.dim, self.num_states = self.model.hidden_sizes[0], self.model.num_layers

    def forward(self, wav: Tensor) -> Tensor:
        wav = _pad_for_hop(wav)
        frames = (wav.size(1) - 400) // HOP + 1
        states, _ = self.model(wav, torch.full((len(wav),), wav.size(1), device=wav.device))
        # s3prl rounds the frame count; the convolutions themselves give exactly `frames`.
        return torch.stack([_fit_frames(state, frames) for state in states], dim=2)


class _Whisper(nn.Module):
    """Whisper's encoder: the one of this package, or another, as tensors or of CTranslate2."""

    def __init__(self, model: str | None):
        super().__init__()
        name = model or "tiny.en"
        try:
            if name == "tiny.en":
                self.model = WhisperEncoder.from_safetensors(assets.whisper_tiny_en_encoder())
            elif name == "base":
                self.model = WhisperEncoder.from_ctranslate2(assets.whisper_base_dir())
            elif name.endswith(".safetensors") and Path(name).is_file():
                self.model = WhisperEncoder.from_safetensors(name)
            elif (Path(name) / "model.bin").is_file():
                self.model = WhisperEncoder.from_ctranslate2(name)
            else:
                raise SemanticError(
                    f"Whisper {name!r} is neither one of tiny.en, base nor a folder with a "
                    "CTranslate2 model.bin, nor a .safetensors file of the encoder"
                )
        except (assets.AssetMissing, assets.AssetCorrupt) as error:
            raise SemanticError(f"Whisper {name!r} is not available: {error}") from error
        self.id = f"whisper-{name}" if name in ("tiny.en", "base") else Path(name).name
        self.dim, self.num_states = self.model.dim, self.model.num_layers + 1

    def forward(self, wav: Tensor) -> Tensor:
        return self.model(wav)


def _pad_for_hop(wav: Tensor) -> Tensor:
    """Pad to whole hops and by 160 samples at both ends: S samples give ceil(S / 320) frames.

    The convolutions see 400 samples with a hop of 320, so 160 + 160 leaves 79 to spare and no
    frame is lost (UniSE pads the same way).
    """
    return F.pad(wav, (160, 160 + -wav.size(1) % HOP))


def _fit_frames(state: Tensor, frames: int) -> Tensor:
    missing = frames - state.size(1)
    if missing > 0:
        state = torch.cat([state, state[:, -1:].expand(-1, missing, -1)], dim=1)
    return state[:, :frames]


BACKENDS: dict[str, type] = {"wavlm": _WavLM, "s3prl": _S3prl, "whisper": _Whisper}
