"""The contract every token back end keeps, and the choice of one by name or from a manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from espnet_hybridse.tokens.kmeans import KmeansTokenizer
from espnet_hybridse.tokens.manifest import ManifestError, check_compatible, read_manifest
from espnet_hybridse.tokens.xcodec import XcodecTokenizer

BACKENDS = ("xcodec", "kmeans")


class Tokenizer(Protocol):
    """One clean utterance in, its tokens out."""

    vocab_size: int

    def encode(self, wav: np.ndarray) -> np.ndarray:
        """(S,) float32 at 16 kHz -> (ceil(S / 320),) int64 in [0, vocab_size)."""

    def manifest(self) -> dict:
        """Describe the tokenizer: the fields of manifest.FIELDS and what loading it again needs."""

    def save(self, directory: str | Path) -> None:
        """Write what `load_tokenizer` needs beside the manifest (a codebook, or nothing)."""


def load_tokenizer(
    manifest_path: str | Path,
    device: str | torch.device = "cpu",
    model: str | None = None,
) -> Tokenizer:
    """Load the tokenizer that made the token set of `manifest_path`, its weights checked by hash.

    Args:
        manifest_path: the manifest or its folder; a codebook lies beside it.
        device: where it runs.
        model: where the codec or encoder now lies, if not at the id of the manifest.

    Raises:
        ManifestError: the back end is unknown, or the weights found are not those of the manifest.
    """
    manifest = read_manifest(manifest_path)
    path = Path(manifest_path)
    folder = path if path.is_dir() else path.parent
    backend = manifest.get("backend")
    if backend == "xcodec":
        tokenizer = XcodecTokenizer(model or str(manifest["model"]), device)
    elif backend == "kmeans":
        tokenizer = KmeansTokenizer.load(folder, _semantic(manifest, model), device)
    else:
        raise ManifestError(
            f"{path}: backend {backend!r} is not one of {', '.join(BACKENDS)}; "
            "it was made by another version"
        )
    check_compatible(manifest, tokenizer.manifest(), str(path), "the weights found now")
    return tokenizer


def _semantic(manifest: Mapping, model: str | None) -> dict:
    conf = dict(manifest["semantic"])
    if model:
        conf["model"] = model
    return conf
