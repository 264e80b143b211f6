"""`python -m benchmarks.states`: the shipped refiner listens to what the language model says."""

import json

import numpy as np
import pytest
import torch

from benchmarks.states import KINDS, shuffled
from benchmarks.states import main as states_main


def test_shuffling_stays_within_the_utterance():
    states = torch.arange(12.0).reshape(2, 6, 1)
    out = shuffled(states, torch.tensor([6, 4]))
    assert sorted(out[0, :, 0].tolist()) == sorted(states[0, :, 0].tolist())
    assert out[1, 4:].equal(states[1, 4:]) and not out[0].equal(states[0])


@pytest.mark.slow
def test_shuffled_states_are_worse(rendered, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pystoi", reason="extra 'scoring' is not installed")
    monkeypatch.chdir(rendered)
    given = ["--set", "dump/raw/train", "--out", str(tmp_path), "--metrics", "ESTOI"]
    assert states_main(given) == 0
    mean = {}
    for kind in KINDS:
        lines = (tmp_path / kind / "scores" / "scores.jsonl").read_text().splitlines()
        mean[kind] = np.mean([json.loads(line)["scores"]["ESTOI"] for line in lines])
    assert mean["own"] > mean["shuffled"] + 0.02, "the refiner does not listen"
    assert "| shuffled |" in capsys.readouterr().out
