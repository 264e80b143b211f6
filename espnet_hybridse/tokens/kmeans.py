"""Units learned on frozen semantic features: tokens for machines without the codec.

The paper's tokens come from X-Codec. Where its weights cannot be had, k-means over the features of
a frozen encoder gives tokens of the same kind: one of V per 20 ms, phonetic rather than acoustic.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from espnet_hybridse.encoders.semantic import SemanticEncoder
from espnet_hybridse.fileio.lists import ListError, atomic_path
from espnet_hybridse.tokens.manifest import TOKEN_RATE

CODEBOOK_NAME = "kmeans.npz"


class KmeansTokenizer:
    """Nearest centroid of standardised semantic features.

    Args:
        encoder: the frozen encoder.
        semantic: how to build it again: `backend`, `model`, `layer`.
        mean, scale: (D,) standardisation of the features. Without it a few dimensions of large
            variance, which transformers have, would decide every unit.
        centroids: (V, D).
        device: where it runs.
    """

    def __init__(
        self,
        encoder: SemanticEncoder,
        semantic: dict,
        mean: np.ndarray,
        scale: np.ndarray,
        centroids: np.ndarray,
        device: str | torch.device = "cpu",
    ):
        self.encoder = encoder.to(device)
        self.semantic = dict(semantic)
        self.mean, self.scale, self.centroids = (
            np.asarray(a, dtype=np.float32) for a in (mean, scale, centroids)
        )
        self.device = torch.device(device)
        self.vocab_size = len(self.centroids)
        self._tables = [torch.from_numpy(a).to(device) for a in (self.mean, self.scale)]
        self._centroids = torch.from_numpy(self.centroids).to(device)
        self._described = encoder.describe()

    @classmethod
    def fit(
        cls,
        wavs: Iterable[np.ndarray],
        semantic: dict,
        units: int = 256,
        seed: int = 0,
        max_frames: int = 500_000,
        device: str | torch.device = "cpu",
    ) -> "KmeansTokenizer":
        """Learn the centroids.

        Args:
            wavs: clean utterances, (S,) float32 at 16 kHz; read until `max_frames` are seen.
            semantic: arguments of SemanticEncoder: `backend`, `model`, `layer`.
            units: number of centroids V.
            seed: of the initial centroids and of the mini-batches.
            max_frames: bound on memory: 500k frames are 2.8 h of speech and 770 MB at D = 384.

        Raises:
            ValueError: fewer frames than units, or scikit-learn is missing.
        """
        try:
            from sklearn.cluster import MiniBatchKMeans
        except ImportError as error:
            raise ValueError("k-means units need scikit-learn: pip install scikit-learn") from error
        encoder = SemanticEncoder(**semantic).to(device)
        parts, frames = [], 0
        for wav in wavs:
            parts.append(_features(encoder, wav, device).cpu().numpy())
            frames += len(parts[-1])
            if frames >= max_frames:
                break
        if frames < units:
            raise ValueError(
                f"{frames} frames of speech cannot make {units} units; give more utterances "
                "(--fit_on) or fewer --units"
            )
        features = np.concatenate(parts)
        mean, scale = features.mean(0), 1.0 / (features.std(0) + 1e-5)
        model = MiniBatchKMeans(
            units, batch_size=max(2048, 4 * units), n_init=1, random_state=seed, max_iter=100
        )
        model.fit((features - mean) * scale)
        return cls(encoder, semantic, mean, scale, model.cluster_centers_, device)

    @torch.no_grad()
    def encode(self, wav: np.ndarray) -> np.ndarray:
        """(S,) float32 at 16 kHz -> (ceil(S / 320),) int64."""
        mean, scale = self._tables
        features = (_features(self.encoder, wav, self.device) - mean) * scale
        return torch.cdist(features, self._centroids).argmin(1).cpu().numpy()

    def manifest(self) -> dict:
        digest = hashlib.sha256(str(self._described["hash"]).encode())
        for array in (self.mean, self.scale, self.centroids):
            digest.update(np.ascontiguousarray(array))
        return {
            "backend": "kmeans",
            "id": f"{self._described['id']}/layer-{self._described['layer']}",
            "semantic": self.semantic,
            "sha256": digest.hexdigest(),
            "rate": TOKEN_RATE,
            "vocab_size": self.vocab_size,
        }

    def save(self, directory: str | Path) -> None:
        """Write the codebook into `directory` atomically."""
        with atomic_path(Path(directory) / CODEBOOK_NAME) as tmp:
            np.savez(tmp, mean=self.mean, scale=self.scale, centroids=self.centroids)

    @classmethod
    def load(
        cls,
        directory: str | Path,
        semantic: dict,
        device: str | torch.device = "cpu",
    ) -> "KmeansTokenizer":
        """Read the codebook of `directory` and build its encoder."""
        path = Path(directory) / CODEBOOK_NAME
        if not path.is_file():
            raise ListError(f"{path}: no codebook beside the manifest; run tokenize without it")
        with np.load(path, allow_pickle=False) as book:
            tables = [book[name] for name in ("mean", "scale", "centroids")]
        return cls(SemanticEncoder(**semantic), semantic, *tables, device=device)


@torch.no_grad()
def _features(encoder: SemanticEncoder, wav: np.ndarray, device) -> torch.Tensor:
    x = torch.from_numpy(np.ascontiguousarray(wav, dtype=np.float32))[None].to(device)
    return encoder(x, torch.tensor([x.size(1)], device=x.device))[0][0]
