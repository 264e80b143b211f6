"""Scale-invariant signal-to-distortion ratio (Le Roux et al., 2019)."""

import numpy as np

from espnet_hybridse.scoring.metrics.metric import Metric, MetricFailed

CLAMP_DB = 50.0


class SiSdr(Metric):
    """SI-SDR in dB of zero-mean signals, kept within ±50 dB.

    The bound is the one the challenge puts on its SDR: without it one perfect or one orthogonal
    file would be infinite and decide the mean.
    """

    key = name = "SI-SDR"
    category = "intrusive"
    needs_reference = True
    range = (-CLAMP_DB, CLAMP_DB)
    source = "Le Roux et al. 2019, NumPy"

    def compute(self, inf, ref, fs, context):
        ref = ref.astype(np.float64) - ref.mean(dtype=np.float64)
        inf = inf.astype(np.float64) - inf.mean(dtype=np.float64)
        energy = ref @ ref
        if energy == 0:
            raise MetricFailed("the clean file is constant")
        target = (inf @ ref) / energy * ref
        error = inf - target
        with np.errstate(divide="ignore", invalid="ignore"):
            value = 10 * np.log10((target @ target) / (error @ error))
        return float(np.clip(value, -CLAMP_DB, CLAMP_DB))
