"""PESQ (ITU-T P.862): narrow band at 8 kHz, wide band at 16 kHz."""

from espnet_hybridse.scoring.metrics.metric import Metric, MetricFailed


class Pesq(Metric):
    """Rates other than 8 kHz are scored at 16 kHz in wide-band mode, as the challenge does.

    Narrow-band and wide-band values are on different scales; the challenge's mean mixes them over
    a set of mixed rates, and so does ours.
    """

    key = name = "PESQ"
    category = "intrusive"
    needs_reference = True
    rate = "8 kHz narrow band, else 16 kHz wide band"
    range = (-0.5, 4.65)
    source = "pesq 0.0.4"
    official = True
    modules = ("pesq",)

    def compute(self, inf, ref, fs, context):
        return context.once("pesq", lambda: self.pesq(inf, ref, fs, context))

    def pesq(self, inf, ref, fs, context) -> float:
        """The value itself; the composite measures need it too."""
        from pesq import PesqError, pesq

        if fs == 8000:
            mode = "nb"
        else:
            mode = "wb"
            ref, inf, fs = context.at_16k(ref, fs), context.at_16k(inf, fs), 16000
        value = pesq(fs, ref, inf, mode=mode, on_error=PesqError.RETURN_VALUES)
        if value == PesqError.NO_UTTERANCES_DETECTED:
            raise MetricFailed("no utterance detected in the clean or the enhanced file")
        if value == PesqError.BUFFER_TOO_SHORT:
            raise MetricFailed("shorter than the 0.25 s PESQ needs")
        if value < self.range[0]:
            raise MetricFailed(f"pesq returned error code {value}")
        return value
