"""Features of a frozen encoder kept on disk, for training that meets the same audio again."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from espnet_hybridse.fileio.lists import atomic_path

Compute = Callable[[Tensor, Tensor], Tensor]


class FeatureCache:
    """A folder of features, each found by the samples it belongs to.

    Because the audio itself is the key, a wrong hit cannot happen: other audio, another crop or
    another encoder is simply not there yet. It pays where crops repeat: in validation always, in
    training with `preprocessor_conf: {num_crops: …}`. Processes may share a folder.

    Args:
        directory: made if missing.
        encoder: what tells encoder and layer apart.
        max_gb: nothing is added once the folder holds this much (10**9 bytes).
    """

    def __init__(self, directory: str | Path, encoder: str, max_gb: float = 50.0):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.encoder, self.room = encoder, max_gb * 1e9
        self.room -= sum(path.stat().st_size for path in self.directory.rglob("*.npy"))
        self.hits = self.misses = 0

    def through(self, compute: Compute, wav: Tensor, ilens: Tensor, olens: Tensor) -> Tensor:
        """`compute(wav, ilens)` for the utterances that are not kept yet.

        Args:
            compute: (B, S), (B,) samples -> (B, N, …).
            wav: (B, S).
            ilens: (B,) valid samples.
            olens: (B,) frames that they give.

        Returns:
            (B, N, …) in single precision, rounded to half; zeros past an utterance's end.
        """
        paths = [self.path(row[:length]) for row, length in zip(wav, ilens.tolist(), strict=True)]
        found = {row: self.get(path) for row, path in enumerate(paths)}
        absent = [row for row, features in found.items() if features is None]
        if absent:
            fresh = compute(wav[absent], ilens[absent])
            for features, row in zip(fresh, absent, strict=True):
                found[row] = features[: int(olens[row])].half()
                self.put(paths[row], found[row])
        rows = [features.to(wav.device).float() for features in found.values()]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def path(self, wav: Tensor) -> Path:
        """Where the features of (S,) lie."""
        digest = hashlib.sha256(self.encoder.encode())
        digest.update(wav.detach().float().cpu().contiguous().numpy())
        name = digest.hexdigest()
        return self.directory / name[:2] / f"{name[2:]}.npy"

    def get(self, path: Path) -> Tensor | None:
        """Features as they were put, in half precision; None if absent or torn."""
        try:
            features = torch.from_numpy(np.load(path))
        except (OSError, ValueError, EOFError):
            self.misses += 1
            return None
        self.hits += 1
        return features

    def put(self, path: Path, features: Tensor) -> None:
        """Keep features (N, …) in half precision, if there is room."""
        array = features.detach().half().cpu().numpy()
        if array.nbytes > self.room:
            return
        self.room -= array.nbytes
        path.parent.mkdir(exist_ok=True)
        with atomic_path(path) as tmp, open(tmp, "wb") as handle:
            np.save(handle, array)
