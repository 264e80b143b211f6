"""Chance that somebody speaks, frame by frame: the network of the silero-vad package.

The package runs it frame by frame and sets torch's number of threads when it is imported; here all
frames but the recurrence are computed at once, from the weights alone.
"""

from functools import cache

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional

from espnet_hybridse.fileio.assets import silero_vad_weights
from espnet_hybridse.fileio.audio import resample

FS = 16000
FRAME = 512
"""Samples of a frame at 16 kHz: 32 ms."""
CONTEXT = 64
"""Samples of the frame before that the network sees again."""
FRAME_S = FRAME / FS


class SpeechDetector(torch.nn.Module):
    """Silero VAD 6 for 16 kHz: magnitudes, four convolutions, an LSTM over the frames.

    Raises:
        AssetMissing: silero-vad, which carries the weights, is not installed.
        AssetCorrupt: its weights are other ones than those that this was written for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = torch.nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = torch.nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = torch.nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = torch.nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = torch.nn.Conv1d(64, 128, 3, padding=1)
        self.lstm = torch.nn.LSTM(128, 128, batch_first=True)
        self.final_conv = torch.nn.Conv1d(128, 1, 1)
        weights = load_file(silero_vad_weights())
        cell = "lstm_cell."
        self.load_state_dict(
            {
                f"lstm.{name[len(cell) :]}_l0" if name.startswith(cell) else name: value
                for name, value in weights.items()
            }
        )
        self.requires_grad_(False).eval()

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """(B, T) at 16 kHz -> chance of speech in each frame, (B, ceil(T / 512))."""
        count = -(-wav.shape[1] // FRAME)
        padded = functional.pad(wav, (CONTEXT, count * FRAME - wav.shape[1]))
        frames = padded.unfold(1, CONTEXT + FRAME, FRAME).reshape(-1, 1, CONTEXT + FRAME)
        spectra = self.stft_conv(functional.pad(frames, (0, 64), mode="reflect"))
        real, imag = spectra.chunk(2, dim=1)
        x = torch.sqrt(real.square() + imag.square())
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = torch.relu(layer(x))
        hidden, _ = self.lstm(x.reshape(wav.shape[0], count, -1))
        return torch.sigmoid(self.final_conv(torch.relu(hidden).transpose(1, 2)))[:, 0]


@cache
def speech_detector() -> SpeechDetector:
    """The detector, loaded once in a process; raises as :class:`SpeechDetector` does."""
    return SpeechDetector()


def chance_of_speech(wav: np.ndarray, fs: int) -> np.ndarray:
    """Chance of speech, 0 to 1, in each frame of 32 ms of (T,) samples at `fs` Hz.

    Raises:
        AssetMissing, AssetCorrupt: as of :class:`SpeechDetector`.
    """
    heard = resample(wav.astype(np.float32), fs, FS) if wav.size else wav
    if not heard.size:  # also of a sample or two at a higher rate
        return np.zeros(0, np.float32)
    with torch.inference_mode():
        return speech_detector()(torch.from_numpy(np.ascontiguousarray(heard))[None])[0].numpy()
