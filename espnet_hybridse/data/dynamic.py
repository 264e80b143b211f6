"""Distortions drawn anew in every epoch, while training runs."""

import hashlib
import logging

import numpy as np

from espnet_hybridse.data.preprocessor import HybridPreprocessor
from espnet_hybridse.data.sampler import GRID_PER_SECOND, crop_grid
from espnet_hybridse.data.streams import DUMPED
from espnet_hybridse.fileio.audio import BadAudio, check_audio, check_rate, fit_length
from espnet_hybridse.simulation.cache import process_cache
from espnet_hybridse.simulation.config import load_config
from espnet_hybridse.simulation.degrade import BadSource, degrade, highpass
from espnet_hybridse.simulation.draw import DistortionDrawer
from espnet_hybridse.simulation.sources import Sources

ATTEMPTS = 8


class UrgentDynamicPreprocessor(HybridPreprocessor):
    """ESPnet preprocessor `urgent_dynamic`: `hybridse simulate`'s engine on dry clean speech.

    In training `speech_ref1` is dry speech (`hybridse simulate --lists_only`); it is cropped and
    distorted, and becomes the early-reflection target. In validation it works as `hybridse` does,
    on a rendered set. Target and dry speech are aligned, so tokens made from dry speech stay right.

    What an utterance gets depends on (seed, epoch, utterance) only: neither the number of workers
    nor a restart changes it. The task's iterator sets the epoch; an utterance that comes twice in
    one epoch (`num_iters_per_epoch` above what the set holds) sounds the same both times.

    Args:
        sources: folder with the noise, wind and room lists, as for `hybridse simulate --sources`.
        simulation: simulation.yaml; rates, durations, speed and coverage play no part here.
        seed: of all draws.
        chunk_s: crop in seconds; null keeps whole utterances.
        context_s: speech before the crop that is distorted with it, so that reverberation does
            not begin at the crop's start.
    """

    def __init__(
        self,
        train: bool,
        sources: str,
        simulation: str = "conf/simulation.yaml",
        seed: int = 0,
        chunk_s: float | None = 3.0,
        context_s: float = 0.5,
    ):
        super().__init__(train, chunk_s)
        if not 0 <= context_s <= 10:
            raise ValueError(f"context_s={context_s}; accepted: 0 to 10 s")
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed={seed}; accepted: 0 to {2**32 - 1}")
        self.seed, self.context = seed, round(context_s * GRID_PER_SECOND)
        self.epoch = 0
        if train:
            config = load_config(simulation)
            self.early_ms = config.reverberation.early_ms
            self.highpass_hz = config.highpass_hz
            self.sources = Sources.from_folder(sources)
            self.drawer = DistortionDrawer(self.sources, config)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next utterances belong to."""
        self.epoch = epoch

    def __call__(self, uid: str, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Crop and distort `speech_ref1` (T,) and cut `tokens` (N,) at the same place.

        Raises:
            ValueError: outputs of a branch are given, which were made from other noise; or the
                utterance has no part that can be used.
        """
        if not self.train:
            return super().__call__(uid, data)
        dumped = [name for name in DUMPED if name in data]
        if dumped:
            raise ValueError(
                f"{uid}: {', '.join(dumped)} cannot belong to noise that is drawn now; train with "
                "--on_the_fly, or with preprocessor: hybridse"
            )
        fs = check_rate(int(np.ravel(data["fs"])[0]))
        speech = data["speech_ref1"]
        problem: Exception = ValueError("no attempt was made")
        for attempt in range(ATTEMPTS):
            rng = self._generator(uid, attempt)
            try:
                start, frames, noisy, clean = self._distort(speech, fs, rng)
            except (BadAudio, BadSource) as error:
                problem = error
                logging.info(f"{uid}: drawn again, attempt {attempt + 2} ({error})")
                continue
            data = {**data, "speech_mix": noisy, "speech_ref1": clean}
            return self._finish(uid, data, fs, start, frames)
        raise ValueError(f"{uid}: {ATTEMPTS} attempts to distort it failed, the last: {problem}")

    def _generator(self, uid: str, attempt: int) -> np.random.Generator:
        name = hashlib.sha256(uid.encode()).digest()[:8]
        words = [self.seed, self.epoch, int.from_bytes(name, "little"), attempt]
        return np.random.default_rng(np.random.SeedSequence(words))

    def _distort(self, speech: np.ndarray, fs: int, rng: np.random.Generator):
        """First 20 ms step and number of steps of a crop, its noisy and its clean waveform."""
        step = fs // GRID_PER_SECOND
        if self.chunk_s is None:
            start, frames = 0, -(-speech.shape[0] // step)
        else:
            frames = crop_grid(speech.shape[0], fs, self.chunk_s)
            start = int(rng.integers(max(speech.shape[0] // step - frames, 0) + 1))
        lead = min(start, self.context) * step
        length = frames * step
        dry = fit_length(speech[start * step - lead : start * step + length], lead + length)
        check_audio(dry[lead:], fs)
        dry = highpass(dry.astype(np.float32), fs, self.highpass_hz)
        drawn = self.drawer.draw(rng, fs, dry.size)
        noisy, clean = degrade(dry, fs, drawn, self.early_ms, self.sources, rng, process_cache())
        return start, frames, noisy[lead:], clean[lead:]
