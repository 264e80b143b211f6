"""DNSMOS P.835 (Reddy et al., 2022): overall, speech and background quality in one pass."""

from functools import cached_property

import numpy as np

from espnet_hybridse.fileio.assets import dnsmos_model
from espnet_hybridse.scoring.metrics.dnsmos_network import DnsmosNetwork
from espnet_hybridse.scoring.metrics.metric import Metric

FS = 16000
SEGMENT_S = 9.01

# The network's raw outputs to mean opinion scores (Microsoft's dnsmos_local.py).
CALIBRATION = {
    "SIG": np.poly1d([-0.08397278, 1.22083953, 0.0052439]),
    "BAK": np.poly1d([-0.13166888, 1.60915514, -0.39604546]),
    "OVRL": np.poly1d([-0.06766283, 1.11546468, 0.04602535]),
}


class Dnsmos(Metric):
    """Mean over 9.01-s segments, one a second; a shorter file is repeated, as upstream does.

    The speechmos package runs the P.835 and the P.808 network anew for every segment. Only its
    weights are used here: see :class:`DnsmosNetwork`.
    """

    category = "non-intrusive"
    rate = "16 kHz"
    range = (1.0, 5.0)
    source = "sig_bak_ovr.onnx of speechmos 0.0.1.1"
    modules = ("onnx", "onnxruntime")

    def __init__(self, scale: str):
        self.scale = scale
        self.official = scale == "OVRL"
        self.key = f"DNSMOS_{scale}"
        self.name = f"DNSMOS {scale}"

    def check_assets(self, setup):
        dnsmos_model()

    @cached_property
    def network(self) -> DnsmosNetwork:
        return DnsmosNetwork(dnsmos_model())

    def compute(self, inf, ref, fs, context):
        wav = context.at_16k(inf, fs)
        return context.once("dnsmos", lambda: self.all_scales(wav))[self.scale]

    def all_scales(self, wav: np.ndarray) -> dict[str, float]:
        """(T,) at 16 kHz -> the three scores."""
        length = int(SEGMENT_S * FS)
        while wav.size < length:
            wav = np.append(wav, wav)
        # Upstream's count: whole seconds less 9.01, so the last possible segment is often left out.
        count = int(wav.size // FS - SEGMENT_S) + 1
        # Upstream ends a segment at a rounded time and drops those that come out a sample short.
        whole = [int((index + SEGMENT_S) * FS) - index * FS == length for index in range(count)]
        raw = self.network(wav.astype(np.float32), count)[whole]
        return {
            scale: float(np.mean(CALIBRATION[scale](column)))
            for scale, column in zip(("SIG", "BAK", "OVRL"), raw.T.astype(np.float64), strict=True)
        }
