"""Pictures of real audio."""

import numpy as np
import pytest
import soundfile

from espnet_hybridse.fileio.pictures import plot_utterance


def test_spectrograms_of_one_utterance(tmp_path):
    wav = 0.1 * np.random.default_rng(0).normal(size=8000)
    soundfile.write(tmp_path / "a.wav", wav, 8000)
    (tmp_path / "wav.scp").write_text(f"utt {tmp_path / 'a.wav'}\n")
    systems = {"Noisy": tmp_path / "wav.scp", "Clean": tmp_path / "wav.scp"}
    plot_utterance(systems, "utt", tmp_path / "spectrograms.png")
    assert (tmp_path / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(KeyError, match="other"):
        plot_utterance(systems, "other", tmp_path / "spectrograms.png")
