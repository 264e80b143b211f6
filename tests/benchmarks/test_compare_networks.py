"""`python -m benchmarks.compare_networks`: a table of variants, trained and judged."""

import json
import os

import pytest

from benchmarks import compare_networks
from benchmarks.compare_networks import Pairs, main

TINY = {"channels": 8, "hidden": 4, "band_hidden": 4, "n_layers": 1, "detail_channels": 0}


@pytest.fixture
def compare(rendered, tmp_path, monkeypatch):
    """Run the script on the tiny corpus with two tiny variants and short measurements."""
    small = compare_networks.SMALL.resolve()
    variants = {"lstm": (small, TINY), "gru": (small, {**TINY, "cell": "gru"})}
    monkeypatch.setattr(compare_networks, "VARIANTS", variants)
    for name in ("COUNTED_S", "TIMED_S"):
        monkeypatch.setattr(compare_networks, name, 0.2)
    monkeypatch.chdir(rendered)
    folder = os.path.join("dump", "raw", "train")

    def run(*options):
        given = ["--train", folder, "--valid", folder, "--out", str(tmp_path / "out")]
        return main([*given, "--minutes", "0.01", "--batch_size", "2", *options]), tmp_path / "out"

    return run


@pytest.mark.slow
def test_every_variant_is_trained_judged_and_stands_in_the_table(compare, capsys):
    status, out = compare("--names", "lstm", "gru")
    assert status == 0
    rows = {name: json.loads((out / f"{name}.json").read_text()) for name in ("lstm", "gru")}
    assert rows["lstm"]["parameters"] > rows["gru"]["parameters"] > 0
    assert rows["lstm"]["GMAC/s 48k"] > rows["lstm"]["GMAC/s 16k"] > 0
    assert all(row["steps"] > 0 and 0 < row["ESTOI"] < 1 for row in rows.values())
    table = (out / "table.md").read_text()
    names = [line.split(" | ")[0] for line in table.splitlines()[2:]]
    assert names == ["| noisy", "| lstm", "| gru"]
    assert table in capsys.readouterr().out


@pytest.mark.slow
def test_what_has_been_measured_is_kept(compare):
    _, out = compare("--names", "lstm")
    (out / "lstm.json").write_text('{"parameters": 7}')
    compare("--names", "lstm")
    assert "| 7 |" in (out / "table.md").read_text()


def test_a_batch_holds_one_rate_and_pairs_of_one_place(rendered, monkeypatch):
    monkeypatch.chdir(rendered)
    pairs = Pairs(rendered / "dump" / "raw" / "train", 3, 0.5, seed=0)
    for (mix, ref, fs), _ in zip(pairs.batches(), range(6), strict=False):
        assert mix.shape == ref.shape and mix.shape[1] <= 0.5 * fs
        assert fs in (8000, 16000, 22050)


def test_a_missing_set_is_named(compare, capsys):
    status, _ = compare("--valid", "nowhere")
    assert status == 2
    assert "nowhere" in capsys.readouterr().err
