"""Extended short-time objective intelligibility (Jensen and Taal, 2016)."""

import numpy as np

from espnet_hybridse.scoring.metrics.metric import Metric, MetricFailed

TOO_SHORT = 1e-5
"""What pystoi returns, with only a warning, for fewer than 30 frames of speech."""


class Estoi(Metric):
    """ESTOI at the file's own rate; pystoi itself goes down to 10 kHz."""

    key = name = "ESTOI"
    category = "intrusive"
    needs_reference = True
    range = (0.0, 1.0)
    source = "pystoi 0.4.1"
    official = True
    modules = ("pystoi",)

    def compute(self, inf, ref, fs, context):
        from pystoi import stoi

        # pystoi adds noise of 2e-16 from NumPy's global generator; the challenge seeds it with 0.
        state = np.random.get_state()
        np.random.seed(0)
        try:
            value = stoi(ref, inf, fs_sig=fs, extended=True)
        finally:
            np.random.set_state(state)
        if value == TOO_SHORT:
            raise MetricFailed("fewer than 30 frames (0.4 s) of speech in the clean file")
        return value
