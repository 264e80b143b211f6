"""Character accuracy with the challenge's OWSM."""

import numpy as np

from espnet_hybridse.scoring.metrics.character_accuracy import character_accuracy, wanted_text
from espnet_hybridse.scoring.metrics.espnet_models import EspnetMetric, load_packed
from espnet_hybridse.scoring.metrics.language_codes import three_letters

BEAM = 5
WINDOW_S = 30


class CAccOwsm(EspnetMetric):
    """1 - CER of what OWSM v3.1 hears in the enhanced file, weighted by the transcript's length.

    As in the challenge's script: beam of 5, at most ten tokens a second, zeros up to 30 s, long
    decoding beyond. Without a language, English is assumed, as that is the checkpoint's default.
    """

    key = name = "CAcc"
    category = "task-dependent"
    official = True
    rate = "16 kHz"
    range = (-float("inf"), 1.0)
    model_id = "espnet/owsm_v3.1_ebf"
    source = f"espnet/owsm_v3.1_ebf, beam {BEAM}"
    modules = (*EspnetMetric.modules, "jiwer")

    def load(self, weights, device):
        from espnet2.bin.s2t_inference import Speech2Text

        return load_packed(
            Speech2Text,
            weights,
            device=device,
            task_sym="<asr>",
            beam_size=BEAM,
            predict_time=False,
        )

    def compute(self, inf, ref, fs, context):
        text = wanted_text(context)
        heard = self.hear(context.at_16k(inf, fs), context)
        return character_accuracy(text, heard, context, self.name, "heard (OWSM)")

    def hear(self, wav: np.ndarray, context) -> str:
        """(T,) at 16 kHz -> the transcript."""
        model = self.model(context.setup)
        symbols = {"lang_sym": f"<{three_letters(context.lang or 'eng')}>", "task_sym": "<asr>"}
        if wav.size > WINDOW_S * 16000:
            model.maxlenratio = -300
            pieces = model.decode_long(
                wav, condition_on_prev_text=False, end_time_threshold="<29.00>", **symbols
            )
            return " ".join(piece for *_, piece in pieces)
        model.maxlenratio = -min(300, wav.size // 1600)
        padded = np.pad(wav, (0, WINDOW_S * 16000 - wav.size))
        return model(padded, "<na>", **symbols)[0][-2]
