"""Language identification accuracy with the challenge's OWSM-CTC, and with Whisper base."""

import numpy as np

from espnet_hybridse.scoring.metrics.character_accuracy import (
    WhisperMetric,
    whisper_base,
    whisper_language,
)
from espnet_hybridse.scoring.metrics.espnet_models import EspnetMetric, load_packed
from espnet_hybridse.scoring.metrics.language_codes import three_letters
from espnet_hybridse.scoring.metrics.metric import Context, MetricFailed


class LidAccuracy(EspnetMetric):
    """1 where the first token of OWSM-CTC's transcript is the utterance's language, else 0."""

    key = name = "LID"
    category = "task-dependent"
    official = True
    rate = "16 kHz"
    range = (0.0, 1.0)
    model_id = "espnet/owsm_ctc_v4_1B"
    source = "espnet/owsm_ctc_v4_1B, greedy"

    def load(self, weights, device):
        from espnet2.bin.s2t_inference_ctc import Speech2TextGreedySearch

        return load_packed(
            Speech2TextGreedySearch,
            weights,
            device=device,
            generate_interctc_outputs=False,
            lang_sym="<nolang>",
            task_sym="<asr>",
        )

    def compute(self, inf, ref, fs, context):
        wanted = three_letters(known_language(context))
        if len(wanted) != 3:  # OWSM's tokens have three: it could never be right
            raise MetricFailed(f"language {context.lang!r} is not known; use ISO 639-3, e.g. eng")
        _, tokens, *_ = self.model(context.setup)(context.at_16k(inf, fs))[0]
        heard = tokens[0].strip("<>") if tokens else ""
        context.notes["language"] = heard
        return float(heard == wanted)


class LidWhisper(WhisperMetric):
    """1 where Whisper base takes the utterance's language for the likeliest, else 0."""

    key = "LID_Whisper"
    name = "LID(Whisper-base)"
    stands_for = "LID"
    range = (0.0, 1.0)

    def compute(self, inf, ref, fs, context):
        wanted = whisper_language(known_language(context), whisper_base().supported_languages)
        wav = np.ascontiguousarray(context.at_16k(inf, fs))
        heard, _, _ = whisper_base().detect_language(wav)
        context.notes["language (Whisper)"] = heard
        return float(heard == wanted)


def known_language(context: Context) -> str:
    """The language that the lists give; raises MetricFailed without one."""
    if not context.lang or context.lang == "unknown":
        raise MetricFailed("no language: --utt2lang has none of it, or was not given")
    return context.lang
