"""Preparation of one utterance for training: rate, level and a crop of every stream together."""

import zlib

import numpy as np
from espnet2.train.preprocessor import AbsPreprocessor

from espnet_hybridse.data.sampler import GRID_PER_SECOND, crop_grid
from espnet_hybridse.data.streams import WAVEFORMS
from espnet_hybridse.fileio.audio import check_rate, fit_length


class HybridPreprocessor(AbsPreprocessor):
    """ESPnet preprocessor `hybridse`.

    Args:
        train: random crops when true; the middle of the utterance when false.
        chunk_s: crop in seconds; null keeps whole utterances.
        num_crops: so many different random crops of each utterance over the whole training, so
            that a feature cache finds them again; null takes any crop each time.

    Raises:
        ValueError: a crop below 20 ms, or num_crops < 1.
    """

    def __init__(self, train: bool, chunk_s: float | None = 3.0, num_crops: int | None = None):
        super().__init__(train)
        if chunk_s is not None and chunk_s < 1.0 / GRID_PER_SECOND:
            raise ValueError(f"chunk_s={chunk_s} s is below one 20 ms frame")
        if num_crops is not None and num_crops < 1:
            raise ValueError(f"num_crops={num_crops} must be at least 1, or null for any crop")
        self.chunk_s, self.num_crops = chunk_s, num_crops

    def __call__(self, uid: str, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Crop `speech_mix`, `speech_ref1`, … (T,) and `tokens` (N,) on one 20 ms grid.

        `fs` (1,) becomes `utt2fs`, the name under which ESPnet's model expects it.
        """
        fs = check_rate(int(np.ravel(data["fs"])[0]))
        step = fs // GRID_PER_SECOND
        streams = [name for name in WAVEFORMS if name in data]
        samples = min(data[name].shape[0] for name in streams)
        if self.chunk_s is None:
            # As many frames as there are tokens: those that a rate of 16 kHz makes of them.
            start, frames = 0, -(-round(samples * 16000 / fs) // (16000 // GRID_PER_SECOND))
        else:
            frames = crop_grid(samples, fs, self.chunk_s)
            room = max(samples // step - frames, 0)
            start = self._start(uid, room) if self.train else room // 2
        for name in streams:
            cut = data[name][start * step : (start + frames) * step]
            data[name] = fit_length(cut, frames * step).astype(np.float32, copy=False)
        return self._finish(uid, data, fs, start, frames)

    def _finish(
        self, uid: str, data: dict[str, np.ndarray], fs: int, start: int, frames: int
    ) -> dict[str, np.ndarray]:
        """Cut the tokens as the waveforms were, and hand on the rate."""
        data.pop("fs", None)
        if "tokens" in data:
            data["tokens"] = np.ravel(data["tokens"])[start : start + frames]
            if data["tokens"].shape[0] < frames:
                raise ValueError(
                    f"{uid}: {data['tokens'].shape[0]} tokens for {frames} frames; the tokens were "
                    "made from other audio: run stage 4 again"
                )
        data["utt2fs"] = np.array([fs], dtype=np.int64)
        return data

    def _start(self, uid: str, room: int) -> int:
        """First of the 20 ms steps, 0 … room, of a random crop."""
        if self.num_crops is None:
            return np.random.randint(room + 1)
        # A hash of Python's own would differ from process to process.
        starts = np.random.default_rng(zlib.crc32(uid.encode())).integers(
            room + 1, size=self.num_crops
        )
        return int(starts[np.random.randint(self.num_crops)])
