"""Base class of peers: a declaration, and one method at the rate a peer was made for."""

import numpy as np

from espnet_hybridse.fileio.assets import AssetMissing, package_dir
from espnet_hybridse.fileio.audio import fit_length, resample


class Peer:
    """A published system. Any rate goes in and out: it is resampled to the peer's own and back.

    What a peer cannot represent, such as the band above its Nyquist frequency, is lost, as it is
    for its users.
    """

    key: str
    """The word for --peer."""
    name: str
    """The row of the table."""
    fs: int | None
    """The only rate it takes in Hz; None takes any."""
    delay: int = 0
    """Samples at `fs` that its output lags behind; they are removed."""
    source: str
    module: str
    """The package that carries it, looked for without an import."""
    install: str

    def check(self) -> None:
        """Raise AssetMissing, with the line that installs the peer, when it cannot run here."""
        try:
            package_dir(self.module, self.install)
        except (ModuleNotFoundError, AssetMissing):  # the former where a parent package is missing
            raise AssetMissing(
                f"--peer {self.key}: package {self.module!r} is not installed; run: {self.install}"
            ) from None

    def __call__(self, wav: np.ndarray, fs: int) -> np.ndarray:
        """(T,) float32 at `fs` Hz -> the same length, aligned with the input."""
        own = self.fs or fs
        given = resample(wav, fs, own)
        given = np.pad(given, (0, self.delay)).astype(np.float32)
        enhanced = self.enhance(given, own)[self.delay :]
        return fit_length(resample(enhanced.astype(np.float32), own, fs), wav.size)

    def enhance(self, wav: np.ndarray, fs: int) -> np.ndarray:
        """(T,) at the peer's rate -> (T,), `delay` samples late."""
        raise NotImplementedError


def blocks(wav: np.ndarray, size: int) -> np.ndarray:
    """(T,) -> (B, size), zeros at the end."""
    return np.pad(wav, (0, -wav.size % size)).reshape(-1, size)
