"""PLCMOS v2 (Diener et al., 2023): quality of concealed packet losses, without a reference."""

from functools import cached_property

import numpy as np

from espnet_hybridse.fileio.assets import plcmos_model
from espnet_hybridse.runtime.onnx_session import onnx_session
from espnet_hybridse.scoring.metrics.metric import Metric

ROUNDS = 15


class PlcMos(Metric):
    """Mean over 15 random raters, as upstream; ours are the same 15 for every file.

    Upstream draws them from NumPy's global generator, so its value changes from call to call.
    """

    key = name = "PLCMOS"
    category = "non-intrusive"
    rate = "16 kHz"
    range = (1.0, 5.0)
    source = "plcmos_v2.onnx of speechmos 0.0.1.1, raters of NumPy seed 0"
    modules = ("speechmos", "onnxruntime")

    def check_assets(self, setup):
        plcmos_model()

    @cached_property
    def raters(self) -> np.ndarray:
        return np.random.RandomState(0).normal(size=(ROUNDS, 1, 64)).astype(np.float32)

    @cached_property
    def session(self):
        return onnx_session(plcmos_model())

    def compute(self, inf, ref, fs, context):
        features = log_spectrum(context.at_16k(inf, fs))
        inputs = ({"degraded_audio": features, "rater_embed": rater} for rater in self.raters)
        return float(np.mean([float(self.session.run(None, one)[0]) for one in inputs]))


def log_spectrum(wav: np.ndarray) -> np.ndarray:
    """(T,) at 16 kHz -> (1, 1, frames, 257): log magnitudes as the network was trained with.

    32-ms frames every 16 ms under a periodic Hamming window, the first one half before the start.
    The logarithm is that of the squared magnitude's square and digital silence lies 120 dB below
    the quietest bin: both as in speechmos.
    """
    size, hop = 512, 256
    count = -(-(wav.size + hop) // hop)
    padded = np.pad(wav, (hop, (count - 1) * hop + size - hop - wav.size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count]
    window = np.hamming(size + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    sounding = power > 0
    level = np.full(power.shape, -8.0 / np.log10(np.e))
    if sounding.any():
        level[sounding] = np.log(power[sounding])
        level[~sounding] = level[sounding].min() - 12.0 / np.log10(np.e)
    return (level / 20).astype(np.float32)[None, None]
