"""DNSMOS Pro: a small opinion-score network with a front end other than that of DNSMOS P.835."""

from pathlib import Path

import torch
from torch import Tensor, nn

from espnet_hybridse.fileio.assets import check_file

HOP, WINDOW = 160, 320
FLOOR, CEILING = 1e-7, 1e7
MIN_SAMPLES = 2 * HOP
"""Three frames, of which the pooling leaves one."""
WEIGHTS = Path(__file__).parent / "weights" / "dnsmos_pro_nisqa.pt"
SHA256 = "413597edce824b0ebc2a2cf8b4484aa54bf5d698da39ea0ba4e7c19c7f178146"


class DnsmosPro(nn.Module):
    """Four convolutions over log magnitudes under a Hann window, the maximum, a dense head.

    Cumlin et al., "DNSMOS Pro: a reduced-size DNN for probabilistic MOS of speech", Interspeech
    2024. The parameter names are those of the published TorchScript files, of which the one trained
    on the NISQA corpus comes with this package. Its second output, the spread over listeners, is
    left out.

    Args:
        path: a state dict; None leaves random weights.
    """

    columns = ("DNSMOS Pro",)

    def __init__(self, path: Path | None = None):
        super().__init__()
        self._encoder = nn.Module()
        self._encoder.encoder = nn.Sequential(
            block(1, 32), block(32, 32, pool=3), block(32, 64), block(64, 64)
        )
        self._head = nn.Module()
        self._head.head = nn.Sequential(
            nn.Sequential(nn.Linear(64, 64), nn.ReLU()),
            nn.Sequential(nn.Linear(64, 64), nn.ReLU()),
            nn.Sequential(nn.Linear(64, 2)),
        )
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        if path is not None:
            self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def forward(self, wav: Tensor) -> Tensor:
        """Waveforms of one length (B, T) at 16 kHz -> opinion score (B, 1), about 1 to 5."""
        wav = nn.functional.pad(wav, (0, max(0, MIN_SAMPLES - wav.shape[1])))
        padded = nn.functional.pad(wav, (WINDOW // 2, WINDOW // 2))
        spectrum = torch.stft(
            padded, WINDOW, HOP, window=self.window, center=False, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        level = 0.5 * power.clamp(FLOOR**2, CEILING**2).log10()
        hidden = self._encoder.encoder(level.transpose(1, 2)[:, None])
        return 2 * self._head.head(hidden.amax((2, 3)))[:, :1] + 3


def weights() -> Path:
    """The file that comes with this package; raises AssetCorrupt where it is another one."""
    return check_file(WEIGHTS, SHA256, "reinstall espnet_hybridse")


def block(channels: int, out: int, pool: int | None = None) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU and, at one place, pooling."""
    layers = [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(pool)] if pool else []))
