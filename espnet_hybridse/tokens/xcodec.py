"""Tokens of X-Codec's first residual quantiser, the paper's target (section 2.2)."""

from pathlib import Path

import numpy as np
import torch

from espnet_hybridse.encoders.weights_hash import weights_sha256
from espnet_hybridse.tokens.manifest import TOKEN_RATE

DEFAULT = "hf-audio/xcodec-wavlm-more-data"
"""The multilingual checkpoint (our choice: the challenge has five languages)."""

HOP = 320


class XcodecTokenizer:
    """First layer of X-Codec through transformers.

    Args:
        model: a Hugging Face id or a local folder made by save_pretrained.
        device: where it runs.

    Raises:
        ValueError: the model cannot be loaded, or is not a 16 kHz, 50 Hz codec.
    """

    def __init__(self, model: str | None = None, device: str | torch.device = "cpu"):
        from transformers import XcodecModel

        self.model_id = model or DEFAULT
        try:
            self.model = XcodecModel.from_pretrained(self.model_id).eval().to(device)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"X-Codec {self.model_id!r} could not be loaded; give a local folder with --model, "
                "allow access to the model hub, or use --backend kmeans, which works offline. "
                f"Cause: {error}"
            ) from error
        config = self.model.config
        if (config.sample_rate, config.hop_length) != (16000, HOP):
            raise ValueError(
                f"{self.model_id}: {config.sample_rate} Hz with hop {config.hop_length}; "
                f"a 16000 Hz codec with hop {HOP} is needed"
            )
        self.vocab_size = config.codebook_size
        self.bandwidth = min(config.target_bandwidths)
        self.device = torch.device(device)
        self._sha256 = weights_sha256(self.model)

    @torch.no_grad()
    def encode(self, wav: np.ndarray) -> np.ndarray:
        """(S,) float32 at 16 kHz -> (ceil(S / 320),) int64.

        One utterance at a time, padded to a whole frame only: the codec has no padding mask, and
        longer zero padding changes a third of the tokens.
        """
        frames = -(-len(wav) // HOP)
        x = torch.from_numpy(np.pad(wav, (0, frames * HOP - len(wav)))).to(self.device)
        codes = self.model.encode(x[None, None], bandwidth=self.bandwidth).audio_codes[0, 0]
        if codes.numel() != frames:
            raise ValueError(f"{self.model_id} made {codes.numel()} tokens of {frames} frames")
        return codes.cpu().numpy().astype(np.int64)

    def manifest(self) -> dict:
        local = Path(self.model_id).is_dir()
        return {
            "backend": "xcodec",
            # A folder's place is no identity: the hash is, and the name is for the reader.
            "id": "local" if local else self.model_id,
            "model": self.model_id,
            "sha256": self._sha256,
            "rate": TOKEN_RATE,
            "vocab_size": self.vocab_size,
        }

    def save(self, directory: str | Path) -> None:
        """Save nothing beside the manifest: the weights stay where they are."""
