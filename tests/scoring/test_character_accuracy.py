"""Character accuracy: heard once, in languages that are known, without loops."""

import numpy as np
import pytest
from helpers.golden_metrics import pair

from espnet_hybridse.scoring.metrics import character_accuracy
from espnet_hybridse.scoring.metrics.character_accuracy import loops
from espnet_hybridse.scoring.metrics.metric import Context, MetricFailed
from espnet_hybridse.scoring.metrics.registry import METRICS

COLUMNS = ("CAcc(Whisper-base)", "CAcc≥0(Whisper-base)", "Loops(Whisper-base)")


@pytest.fixture
def metrics():
    if reason := METRICS[COLUMNS[0]].available():
        pytest.skip(reason)
    return [METRICS[name] for name in COLUMNS]


@pytest.mark.slow
def test_speech_is_heard_once_and_weighted_by_its_length(metrics):
    wav, _, fs = pair("goforward-8k")
    context = Context("u", text="Go forward, ten meters!", lang="eng")
    raw, floored, looped = (metric.compute(wav, None, fs, context) for metric in metrics)
    assert 0.5 < raw <= 1 and floored == raw and looped == 0
    assert context.weights == {COLUMNS[0]: len("go forward ten meters")}
    assert context.notes["heard"] == character_accuracy.normalise(context.notes["heard"])
    again = Context("v", text=context.notes["heard"])
    assert metrics[0].compute(wav, None, fs, again) == 1.0


@pytest.mark.slow
def test_more_than_ten_tokens_a_second_are_not_heard(metrics, monkeypatch):
    wav, _, fs = pair("goforward-8k")
    heard = []
    for spare in (10, 2):
        monkeypatch.setattr(character_accuracy, "TOKENS_PER_S", 0)
        monkeypatch.setattr(character_accuracy, "SPARE_TOKENS", spare)
        context = Context("u", text="go forward ten meters", lang="en")
        metrics[0].compute(wav, None, fs, context)
        heard.append(context.notes["heard"])
    assert heard[0].startswith(heard[1]) and len(heard[1]) < len(heard[0])


def test_loop_is_heard_again_without_and_counted(metrics, monkeypatch):
    passes = []

    def transcribe(wav, language, **options):
        passes.append(options)
        return "thank you" if options else "thank you " * 40

    monkeypatch.setattr(character_accuracy, "transcribe", transcribe)
    wav = np.zeros(16000, np.float32)
    context = Context("u", text="go forward ten meters", lang="en")
    raw, floored, looped = (metric.compute(wav, None, 16000, context) for metric in metrics)
    assert passes == [{}, {"no_repeat_ngram_size": 4}]
    assert context.notes == {"heard": "thank you", "looped": "yes"}
    assert raw == floored > 0 and looped == 1
    said = Context("v", text="thank you " * 5, lang="en")  # who was asked to repeat it
    assert metrics[2].compute(wav, None, 16000, said) == 0


@pytest.mark.parametrize(
    "text, is_loop",
    [
        ("go forward ten meters", False),
        ("no no no no", False),
        ("one one two one one two", False),
        ("thank you thank you thank you thank you", True),
        ("so i said " + "la la la " * 5, True),
        ("你好吗" * 5, True),
    ],
)
def test_loops_are_phrases_four_times_in_a_row(text, is_loop):
    assert loops(text) == is_loop


def test_invented_words_cost_one_file_and_no_more(metrics, monkeypatch):
    monkeypatch.setattr(character_accuracy, "transcribe", lambda *given, **options: "x" * 99)
    context = Context("u", text="go", lang="en")
    raw, floored, _ = (m.compute(np.zeros(9, np.float32), None, 16000, context) for m in metrics)
    assert raw < -40 and floored == 0


def test_files_without_text_or_in_a_language_that_is_not_known_well_have_no_value(metrics):
    wav = np.zeros(16000, np.float32)
    for text in (None, "<not-available>", "…"):
        with pytest.raises(MetricFailed, match="transcript"):
            metrics[1].compute(wav, None, 16000, Context("u", text=text, lang="en"))
    with pytest.raises(MetricFailed, match="'be': Whisper base knows only .*en"):
        metrics[1].compute(wav, None, 16000, Context("u", text="x", lang="be"))
