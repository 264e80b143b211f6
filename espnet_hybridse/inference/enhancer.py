"""Enhancement of waveforms of any rate and length with a trained model."""

from pathlib import Path
from typing import Iterator, Optional, Union

import numpy as np
import torch

from espnet_hybridse.audio import fit_length, nearest_rate, resample
from espnet_hybridse.inference.loading import LoadedModel, load_model
from espnet_hybridse.inference.segments import OverlapAdd, plan_segments
from espnet_hybridse.spectrum import WINDOW_MS, n_fft


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
        batch: pieces of one recording processed at once; memory grows with it. None takes 8 for
            the generative branch, whose language model reads its weights once for all of them,
            and 1 else.
        decode_dtype: "float32", "bfloat16" or "int8" for the token decoding of the generative
            branch, instead of the configured type; int8 is the fastest on CPU.

    Raises:
        ValueError: batch < 1, a type that decoding does not have, or a model that decodes nothing.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        device: str = "cpu",
        segment_s: float = 10.0,
        overlap_s: float = 1.0,
        batch: Optional[int] = None,
        decode_dtype: Optional[str] = None,
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
        self.batch = batch or getattr(self.model.separator, "pieces_at_once", 1)

    @classmethod
    def from_pretrained(cls, directory: Union[str, Path], **kwargs) -> "Enhancer":
        """Load an experiment or release folder; `kwargs` as the constructor's."""
        return cls(load_model(directory), **kwargs)

    def __call__(self, wav: Union[np.ndarray, torch.Tensor], fs: int):
        """Enhance (T,) or (C, T); the result has the input's type, shape and rate.

        Rates outside the seven are resampled to the next higher one and back. Channels are
        enhanced one by one.
        """
        if isinstance(wav, torch.Tensor):
            out = self(wav.detach().cpu().numpy(), fs)
            return torch.from_numpy(out).to(wav)
        if wav.ndim == 2:
            return np.stack([self(channel, fs) for channel in wav])
        if wav.ndim != 1:
            raise ValueError(f"wav has shape {wav.shape}; expected (T,) or (C, T)")
        if wav.size == 0:
            return wav
        model_fs = nearest_rate(fs)
        inner = resample(wav.astype(np.float32), fs, model_fs)
        done = np.concatenate(list(self._pieces(inner, model_fs)))
        return fit_length(resample(done, model_fs, fs), wav.size).astype(wav.dtype)

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
        # Whole 20 ms frames, and enough of them for the longest window.
        frames = max(-(-wav.shape[1] * 50 // fs), 4)
        # At 22.05 kHz the 20/10 ms hop divides no frame; without one more, the last samples could
        # lie under the edge of a single window, which magnifies whatever error they have.
        hop = n_fft(fs, WINDOW_MS["disc"]) // 2
        frames += frames * fs // 50 % hop > hop // 2
        size = frames * fs // 50
        padded = np.stack([fit_length(piece, size) for piece in wav])
        padded = torch.from_numpy(padded).to(self.device)
        lengths = torch.full((len(padded),), size, device=self.device)
        enhanced, _, _, _ = self.model.forward_enhance(padded, lengths, {}, fs=fs)
        return enhanced[0][:, : wav.shape[1]].cpu().numpy()
