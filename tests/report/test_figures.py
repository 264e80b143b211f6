"""Figures of the report that need no scored system."""

import pytest

pytest.importorskip("matplotlib", reason="extra 'recipe' is not installed")
from espnet_hybridse.report.figures import curves_figure
from espnet_hybridse.training.curves import read_curves, read_hours

LOG = """[h] 2026-11-22 22:17:21,005 (trainer:392) INFO: 1epoch results: [train] iter_time=0.005, \
mr_stft=2.529, loss=2.799, time=1 hour, 5 minutes and 24 seconds, total_count=200, [valid] \
mr_stft=2.2, loss=2.447, time=9.15 seconds, total_count=23
[h] 2026-11-22 22:20:02,571 (trainer:392) INFO: 2epoch results: [train] loss=2.7, time=7 hours, \
[valid] loss=2.3
[h] 2026-11-22 22:22:02,571 (trainer:392) INFO: 2epoch results: [train] loss=2.580, \
train_time=2.0, time=36.0 seconds, [valid] loss=2.2
[h] 2026-11-22 22:24:02,571 (trainer:392) INFO: 3epoch results: [train] loss=2.5, [valid] loss=2.1
""".replace("\\\n", "")


def test_curves_of_an_espnet_log_are_drawn_over_core_hours(tmp_path):
    (tmp_path / "train.log").write_text(LOG)
    curves, hours = read_curves(tmp_path / "train.log"), read_hours(tmp_path / "train.log")
    assert curves["train"]["loss"][-2:] == [(2, 2.58), (3, 2.5)]
    assert hours == pytest.approx({1: 1.09, 2: 1.1, 3: 1.1})
    picture = tmp_path / "losses.png"
    figure = curves_figure({"Dis.": tmp_path}, picture, cores=2)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Dis.: validation loss 2.447 after 2.2 core-hours, 2.100 after 2.2" in figure.alt
