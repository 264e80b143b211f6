"""The two trained branches as the fusion sees them: frozen, in eval mode, never saved again."""

from pathlib import Path
from typing import Optional

import torch

from espnet_hybridse.spectrum import WINDOW_MS, istft, n_fft, stft


class FrozenBranch:
    """One trained branch, loaded when first needed.

    Not a Module on purpose: its weights stay out of the fusion's parameters, state dict and
    train() calls.

    Args:
        directory: of an experiment (`config.yaml` beside a `.pth`), or null for a missing branch.
    """

    def __init__(self, directory: Optional[str]):
        self.directory = directory
        self.model = None
        self.decode_dtype: Optional[str] = None
        """Type of the token decoding instead of the configured one."""

    def __bool__(self) -> bool:
        return self.directory is not None

    def _load(self, device: torch.device):
        if self.model is None:
            from espnet_hybridse.inference.loading import load_model

            self.model = load_model(Path(self.directory)).model
            if self.decode_dtype and hasattr(self.model.separator, "decode_in"):
                self.model.separator.decode_in(self.decode_dtype)
        return self.model.to(device)

    @torch.no_grad()
    def enhance(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Run the branch's separator; (B, T, F) complex -> (B, T, F) complex."""
        model = self._load(spectrum.device)
        ilens = torch.full((len(spectrum),), spectrum.shape[1], device=spectrum.device)
        return model.separator(spectrum, ilens, {})[0][0]


def generate(branch: FrozenBranch, spectrum: torch.Tensor, fs: int) -> torch.Tensor:
    """Run the generative branch on the fusion's 20/10 ms grid.

    The 40/20 ms spectrum it works on is taken of the same samples, so both branches stay aligned.

    Args:
        branch: the generative branch.
        spectrum: (B, T, F) complex on the 20/10 ms grid at `fs` Hz.

    Returns:
        (B, T, F) complex on the same grid.
    """
    size = n_fft(fs, WINDOW_MS["disc"])
    # The odd window of 22.05 kHz needs one sample more to give its last frame again.
    length = (spectrum.shape[1] - 1) * (size // 2) + size % 2
    wav = istft(spectrum, fs, WINDOW_MS["disc"], max(length, 1))
    enhanced = branch.enhance(stft(wav, fs, WINDOW_MS["gen"]))
    enhanced = istft(enhanced, fs, WINDOW_MS["gen"], wav.shape[1])
    return stft(enhanced, fs, WINDOW_MS["disc"])[:, : spectrum.shape[1]]
