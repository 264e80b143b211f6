"""Metrics have the values of the packages and scripts that define them."""

import json
import warnings

import numpy as np
import pytest
from helpers.golden_metrics import CASES, DATA, network_value, pair

from espnet_hybridse.scoring.metrics.metric import CATEGORIES, Context, Utterance
from espnet_hybridse.scoring.metrics.registry import METRICS

GOLDEN = json.loads((DATA / "golden_metrics.json").read_text())
CHALLENGE = {
    "non-intrusive": ["DNSMOS OVRL", "NISQA", "UTMOS", "SCOREQ"],
    "intrusive": ["PESQ", "ESTOI"],
    "task-independent": ["SpeechBERTScore", "LPS"],
    "task-dependent": ["SpkSim", "EmoSim", "LID", "CAcc"],
}


def usable(column):
    """The metric, or a skipped test where it cannot run."""
    if reason := METRICS[column].available():
        pytest.skip(reason)
    return METRICS[column]


@pytest.mark.parametrize("column", GOLDEN["numbers"])
def test_values_are_those_of_the_public_packages(column):
    metric = usable(column)
    for case in CASES:
        inf, ref, fs = pair(case)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pysptk's import
            value = metric.compute(inf, ref, fs, Context(case))
        assert value == pytest.approx(GOLDEN[case][column], abs=1e-4), case
        assert metric.range[0] <= value <= metric.range[1]


@pytest.mark.parametrize("case", list(CASES)[::2])
def test_plcmos_is_that_of_speechmos(case):
    metric = usable("PLCMOS")
    inf, ref, fs = pair(case)
    value = metric.compute(inf, ref, fs, Context(case))
    assert value == pytest.approx(network_value("PLCMOS", inf, fs), abs=1e-4)
    assert metric.range[0] <= value <= metric.range[1]


@pytest.mark.slow
def test_distillmos_of_files_scored_together_is_that_of_the_package_for_each():
    metric = usable("DistillMOS")
    both = [Utterance(*pair(case), Context(case)) for case in ("goforward-8k", "numbers")]
    both[0].inf = np.tile(both[0].inf, 3)  # several segments
    metric.together(both)
    for utterance in both:
        value = metric.compute(utterance.inf, None, utterance.fs, utterance.context)
        alone = network_value("DistillMOS", utterance.inf, utterance.fs)
        assert value == pytest.approx(alone, abs=1e-4)
        assert metric.range[0] <= value <= metric.range[1]


def test_registry_has_the_challenges_metrics_in_its_categories():
    official = {name: metric for name, metric in METRICS.items() if metric.official}
    for category in CATEGORIES:
        assert [n for n, m in official.items() if m.category == category] == CHALLENGE[category]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_declares_itself(name):
    metric = METRICS[name]
    assert metric.category in CATEGORIES and metric.source and metric.rate
    assert metric.range[0] < metric.range[1]
    if metric.stands_for:  # a stand-in never goes by the official name
        assert METRICS[metric.stands_for].official and not metric.official
        assert name.startswith(f"{metric.stands_for}(")
    reason = metric.available()
    assert reason is None or "run:" in reason
