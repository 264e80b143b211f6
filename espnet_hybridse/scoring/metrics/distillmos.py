"""DistillMOS (Stahl and Gamper, 2025): quality without a reference, distilled from XLS-R."""

import contextlib
import io
from functools import cached_property

import numpy as np

from espnet_hybridse.scoring.metrics.metric import Metric, Utterance

LENGTH = 122880
MAX_HOP = 16000


class DistillMos(Metric):
    """Mean over segments of 7.68 s that overlap evenly, at most a second apart."""

    key = name = "DistillMOS"
    category = "non-intrusive"
    rate = "16 kHz"
    range = (1.0, 5.0)
    source = "distillmos 0.9.1"
    network = True
    modules = ("distillmos", "xls_r_sqa")

    @cached_property
    def _loaded(self):
        return {}

    def model(self, device):
        """The network, which takes segments (B, 122880) of 16 kHz."""
        import distillmos

        if device not in self._loaded:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights are
                model = distillmos.ConvTransformerSQAModel(segmenting_in_forward=False)
            self._loaded[device] = model.to(device).eval()
        return self._loaded[device]

    def together(self, utterances):
        import torch

        pieces = [segments(u.context.at_16k(u.inf, u.fs)) for u in utterances]
        setup = utterances[0].context.setup
        values = []
        with torch.inference_mode():
            # Eight segments are a minute of audio: more at once need memory and gain nothing.
            for batch in torch.from_numpy(np.concatenate(pieces)).split(8):
                values.append(self.model(setup.device)(batch.to(setup.device)).flatten().cpu())
        means = torch.cat(values).split([len(piece) for piece in pieces])
        for utterance, mean in zip(utterances, means, strict=True):
            utterance.context.cache["distillmos"] = float(mean.mean())

    def compute(self, inf, ref, fs, context):
        if "distillmos" not in context.cache:
            self.together([Utterance(inf, ref, fs, context)])
        return context.cache["distillmos"]


def segments(wav: np.ndarray) -> np.ndarray:
    """(T,) at 16 kHz -> (B, 122880): the package's own segmenting."""
    over = max(wav.size - LENGTH, 0)
    wav = np.pad(wav, (0, max(LENGTH - wav.size, 0))).astype(np.float32)
    starts = np.linspace(0, 1, int(np.ceil(over / MAX_HOP)) + 1)
    return np.stack([wav[int(start * over) :][:LENGTH] for start in starts])
