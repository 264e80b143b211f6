"""Pictures from a real log and real audio."""

import numpy as np
import pytest
import soundfile

from espnet_hybridse.fileio.pictures import plot_utterance
from espnet_hybridse.report.figures import plot_losses
from espnet_hybridse.training.curves import read_curves

LOG = """[h] 2026-11-22 22:17:21,005 (trainer:392) INFO: 1epoch results: [train] iter_time=0.005, \
mr_stft=2.529, loss=2.799, time=5 minutes and 15.43 seconds, total_count=200, [valid] mr_stft=2.2, \
loss=2.447, time=9.15 seconds, total_count=23
[h] 2026-11-22 22:22:02,571 (trainer:392) INFO: 2epoch results: [train] loss=2.580, [valid] loss=2.2
"""


def test_curves_of_an_espnet_log(tmp_path):
    (tmp_path / "train.log").write_text(LOG)
    curves = read_curves(tmp_path / "train.log")
    assert curves["train"]["loss"] == [(1, 2.799), (2, 2.58)]
    assert curves["valid"]["loss"] == [(1, 2.447), (2, 2.2)]
    plot_losses({"Dis.": tmp_path}, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


def test_spectrograms_of_one_utterance(tmp_path):
    wav = 0.1 * np.random.default_rng(0).normal(size=8000)
    soundfile.write(tmp_path / "a.wav", wav, 8000)
    (tmp_path / "wav.scp").write_text(f"utt {tmp_path / 'a.wav'}\n")
    systems = {"Noisy": tmp_path / "wav.scp", "Clean": tmp_path / "wav.scp"}
    plot_utterance(systems, "utt", tmp_path / "spectrograms.png")
    assert (tmp_path / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(KeyError, match="other"):
        plot_utterance(systems, "other", tmp_path / "spectrograms.png")
