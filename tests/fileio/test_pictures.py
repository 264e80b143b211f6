"""Pictures of real audio."""

import numpy as np
import pytest
import soundfile

from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.fileio.pictures import plot_utterance


def test_spectrograms_of_one_utterance(tmp_path):
    wav = 0.1 * np.random.default_rng(0).normal(size=8000)
    soundfile.write(tmp_path / "a.wav", wav, 8000)
    files = {"Noisy": tmp_path / "a.wav", "Clean": tmp_path / "a.wav"}
    plot_utterance(files, "utt", tmp_path / "spectrograms.png")
    assert (tmp_path / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(BadAudio, match="no such file"):
        plot_utterance({"Noisy": tmp_path / "b.wav"}, "utt", tmp_path / "spectrograms.png")
