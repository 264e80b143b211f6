"""The same seed on the same machine gives the same training."""

import json

import numpy as np
import pytest
from helpers.training_runs import make_run, train_here


def curve(rendered, folder, *options):
    run = make_run(rendered, folder, num_iters_per_epoch=50)
    train_here(run, *options)
    rows = (folder / "progress.jsonl").read_text().splitlines()
    return np.array([json.loads(row)["loss"] for row in rows])


@pytest.mark.slow
def test_fifty_steps_are_the_same_whatever_the_workers(rendered, tmp_path):
    first = curve(rendered, tmp_path / "a")
    again = curve(rendered, tmp_path / "b", "--num_workers", "2")
    other = curve(rendered, tmp_path / "c", "--seed", "1")
    assert first.shape == (50,)
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-6)
    assert np.abs(other - first).max() > 1e-3
