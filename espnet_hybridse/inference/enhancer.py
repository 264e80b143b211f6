"""Enhancement of waveforms of any rate and length with a trained model."""

from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple, Union

import numpy as np
import torch

from espnet_hybridse.audio import RATES, fit_length, nearest_rate, resample
from espnet_hybridse.inference.loading import LoadedModel, load_model
from espnet_hybridse.inference.segments import OverlapAdd, plan_segments
from espnet_hybridse.spectrum import WINDOW_MS, n_fft

MAX_CHANNELS = 64
"""A first axis longer than this and than the second is samples, not channels."""


class Enhancer:
    """A trained branch or hybrid as a function of waveforms.

    Example:
        >>> enhancer = Enhancer.from_pretrained("exp/hybrid_mini")
        >>> clean = enhancer(noisy, fs)

    Args:
        loaded: the model and its configuration.
        device: torch device.
        segment_s: longest piece processed at once, in seconds; longer audio is cut into
            overlapping pieces that are cross-faded, so memory does not grow with its length.
        overlap_s: shared by neighbouring pieces, in seconds.
        batch: pieces of one recording processed at once; memory grows with it. None takes 1 for
            the discriminative branch and 8 where tokens are decoded: the language model reads its
            weights once for all of them.
        decode_dtype: "float32", "bfloat16" or "int8" for the token decoding of the generative
            branch, instead of the configured type; int8 is the fastest on CPU.
        safety: 0 to 1, of a hybrid: how far its output moves to `safety_to` where its branches
            contradict each other. None keeps what is configured.
        safety_to: "disc" or "noisy".

    Raises:
        ValueError: batch < 1, a type that decoding does not have, a model that decodes nothing,
            a `safety` out of its range or for a model that is no hybrid.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        device: str = "cpu",
        segment_s: float = 10.0,
        overlap_s: float = 1.0,
        batch: Optional[int] = None,
        decode_dtype: Optional[str] = None,
        safety: Optional[float] = None,
        safety_to: str = "disc",
    ):
        if batch is not None and batch < 1:
            raise ValueError(f"batch={batch} must be at least 1")
        self.loaded = loaded
        self.model = loaded.model.to(device).eval()
        self.device = torch.device(device)
        self.segment_s, self.overlap_s = segment_s, overlap_s
        if decode_dtype is not None:
            if not hasattr(self.model.separator, "decode_in"):
                raise ValueError(
                    f"decode_dtype={decode_dtype!r}: this model ({loaded.branch}) decodes no tokens"
                )
            self.model.separator.decode_in(decode_dtype)
        if safety is not None:
            self._hybrid("safety").set_safety(safety, safety_to)
        self.batch = batch or getattr(self.model.separator, "pieces_at_once", 1)

    @classmethod
    def from_pretrained(cls, directory: Union[str, Path], **kwargs) -> "Enhancer":
        """Load an experiment or release folder; `kwargs` as the constructor's."""
        return cls(load_model(directory), **kwargs)

    def __call__(self, wav: Union[np.ndarray, torch.Tensor], fs: int):
        """Enhance (T,) or (C, T) floats; the result has the input's type, shape and rate.

        Rates outside the seven are resampled to the next higher one and back. Channels are
        enhanced one by one. Silence stays silence.

        Raises:
            ValueError: another shape, integer samples, or NaN or Inf among them.
        """
        if isinstance(wav, torch.Tensor):
            out = self(wav.detach().cpu().numpy(), fs)
            return torch.from_numpy(out).to(wav)
        if not np.issubdtype(wav.dtype, np.floating):
            raise ValueError(
                f"wav holds {wav.dtype}; expected floats from -1 to 1: divide int16 by 32768"
            )
        if wav.ndim == 2:
            if len(wav) > max(wav.shape[1], MAX_CHANNELS):
                raise ValueError(
                    f"wav has shape {wav.shape}; expected (channels, samples): transpose it"
                )
            return np.stack([self(channel, fs) for channel in wav])
        if wav.ndim != 1:
            raise ValueError(f"wav has shape {wav.shape}; expected (T,) or (C, T)")
        if not np.isfinite(wav).all():
            raise ValueError("wav has NaN or Inf samples")
        if not wav.any():
            return wav.copy()
        model_fs = nearest_rate(fs)
        inner = resample(wav.astype(np.float32), fs, model_fs)
        done = np.concatenate(list(self._pieces(inner, model_fs)))
        return fit_length(resample(done, model_fs, fs), wav.size).astype(wav.dtype)

    @torch.no_grad()
    def branches(self, wav: np.ndarray, fs: int) -> Dict[str, np.ndarray]:
        """What a hybrid's output is made of, for analysis; the audio is processed in one piece.

        Args:
            wav: (T,) of one of the seven rates.
            fs: its rate in Hz.

        Returns:
            {"disc", "gen", "fused": (T,) waveforms, "mask": (frames of 10 ms, bins of 50 Hz)}; a
            branch that the model lacks is left out.

        Raises:
            ValueError: the model is no hybrid, or another rate.
        """
        separator = self._hybrid("branches()")
        if fs not in RATES:
            raise ValueError(f"fs={fs} Hz is not one of {RATES}; resample the audio first")
        padded, lengths = self._padded(wav[None], fs)
        spectrum, flens = self.model.encoder(padded, lengths, fs=fs)
        parts = separator.parts(spectrum)
        mask = parts.pop("mask")[0].cpu().numpy()
        waves = {name: self.model.decoder(x, lengths, fs=fs)[0] for name, x in parts.items()}
        return {
            **{name: wave[0, : wav.size].cpu().numpy() for name, wave in waves.items()},
            "mask": mask[: -(-wav.size * 100 // fs) + 1],
        }

    def _hybrid(self, what: str) -> torch.nn.Module:
        if not hasattr(self.model.separator, "set_safety"):
            raise ValueError(f"{what}: this model ({self.loaded.branch}) is no hybrid")
        return self.model.separator

    def _pieces(self, wav: np.ndarray, fs: int) -> Iterator[np.ndarray]:
        overlap = round(self.overlap_s * fs)
        plan = plan_segments(wav.size, round(self.segment_s * fs), overlap)
        if len(plan) == 1:
            yield self.process(wav[None], fs)[0]
            return
        joined = OverlapAdd(wav.size, overlap)
        for first in range(0, len(plan), self.batch):
            part = plan[first : first + self.batch]
            pieces = self.process(np.stack([wav[start:stop] for start, stop in part]), fs)
            for (start, _), piece in zip(part, pieces, strict=True):
                yield joined.push(start, piece)

    @torch.no_grad()
    def process(self, wav: np.ndarray, fs: int) -> np.ndarray:
        """Enhance pieces (B, T) of equal length at one of the seven rates."""
        padded, lengths = self._padded(wav, fs)
        enhanced, _, _, _ = self.model.forward_enhance(padded, lengths, {}, fs=fs)
        return enhanced[0][:, : wav.shape[1]].cpu().numpy()

    def _padded(self, wav: np.ndarray, fs: int) -> Tuple[torch.Tensor, torch.Tensor]:
        """(B, T) and valid samples (B,) on the device, T such that no frame is cut."""
        # Whole 20 ms frames, and enough of them for the longest window.
        frames = max(-(-wav.shape[1] * 50 // fs), 4)
        # At 22.05 kHz the 20/10 ms hop divides no frame; without one more, the last samples could
        # lie under the edge of a single window, which magnifies whatever error they have.
        hop = n_fft(fs, WINDOW_MS["disc"]) // 2
        frames += frames * fs // 50 % hop > hop // 2
        size = frames * fs // 50
        padded = np.stack([fit_length(piece, size) for piece in wav])
        padded = torch.from_numpy(padded).to(self.device)
        return padded, torch.full((len(padded),), size, device=self.device)
