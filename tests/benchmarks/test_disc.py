"""`python -m benchmarks.disc`: every system in one table, counted right."""

import json
import os

import pytest
import torch

from benchmarks.disc import count_case
from benchmarks.disc import main as disc_main
from benchmarks.disc_systems import SYSTEMS, Case
from benchmarks.memory import MemoryProbe

SIZES = {"n_layers": 2, "lstm_hidden_units": 6, "emb_dim": 8, "emb_ks": 2, "emb_hs": 2}
MEGABYTE = 2**20


def bench(folder, *options, **conf):
    """Exit status and what the JSON file holds."""
    lines = "".join(f"  {key}: {value}\n" for key, value in {**SIZES, **conf}.items())
    config = folder / "train_disc.yaml"
    config.write_text(f"separator: tfgridnet_sfi\nseparator_conf:\n{lines}")
    file = folder / "bench.json"
    given = ["--config", str(config), "--json", str(file), "--device", "cpu", "--seconds", "0.05"]
    status = disc_main([*given, "--repeat", "2", *options])
    return status, json.loads(file.read_text()) if file.is_file() else None


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """One run over every system, with the preset's own options set."""
    status, values = bench(
        tmp_path_factory.mktemp("bench"), "--rates", "8000", output="residual", rms_norm="true"
    )
    assert status == 0
    return values


def rows_of(values):
    return {row["system"]: row for row in values["rows"]}


@pytest.mark.slow
def test_every_system_is_measured(result):
    rows = rows_of(result)
    assert list(rows) == [key for key in SYSTEMS if key != "ours_compile"]
    for row in rows.values():
        assert row["failed"] == {}
        for key in ("params_m", "gmac", "infer_s", "infer_mb", "infer_x"):
            assert row[key] > 0, (row["system"], key)
        assert len(row["times"]["infer"]) == 2
    for key in ("v3", "ours", "ours_ckpt", "configured", "bsrnn"):
        assert rows[key]["train_s"] > 0 and rows[key]["train_mb"] > 0
    assert 30 < rows["bsrnn"]["params_m"] < 40, "the challenge's baseline"


@pytest.mark.slow
def test_same_weights_give_the_same_output(result):
    rows = rows_of(result)
    for key in ("ours", "ours_ckpt"):
        assert rows[key]["params_m"] == rows["v3"]["params_m"]
        assert rows[key]["gmac"] == rows["v3"]["gmac"]
        assert rows[key]["difference"] < 1e-3 * rows[key]["output_max"]
    for key in ("v3_amp", "ours_bf16"):
        assert rows[key]["difference"] > rows["ours"]["difference"], "half precision"
    for key in ("configured", "bsrnn"):
        assert rows[key]["difference"] is None


@pytest.mark.slow
def test_the_run_says_what_it_was(result):
    assert result["command"].startswith("python -m benchmarks.")
    for key in ("processor", "threads", "torch", "espnet", "espnet_hybridse", "device"):
        assert result[key], key
    assert result["rates"] == [8000] and result["seconds"] == 0.05


@pytest.mark.slow
@pytest.mark.parametrize("key", ["v3", "ours"])
def test_multiply_accumulates(key):
    frames, bins, channels, hidden, size, heads, narrow = 401, 81, 8, 6, 2, 4, 3
    own = {**SIZES, "attn_qk_output_channel": narrow}
    # Padded to whole windows of two frames and two bins.
    grid, steps = 402 * 82, 402 * 82 // size
    recurrent = steps * 2 * 4 * hidden * (size * channels + hidden)
    projection = steps * 2 * hidden * size * channels
    points = frames * bins
    pointwise = points * channels * (2 * heads * narrow + 2 * channels)
    attention = frames * frames * bins * (heads * narrow + channels)
    block = 2 * (recurrent + projection) + pointwise + attention
    ends = points * 9 * 2 * channels * 2
    assert grid == steps * size
    parameters, gmac = count_case(Case(key, own, 8000, 0.1, 1, "cpu"))
    assert gmac * 4e9 == pytest.approx(2 * block + ends, rel=1e-6)


def hold(megabytes):
    """A call that holds so many MB, as its own warm-up."""

    def call():
        torch.ones(megabytes * MEGABYTE // 4).sum()

    return call, call


def die():
    return (lambda: None), (lambda: os._exit(9))


@pytest.mark.slow
def test_peak_memory_is_exact_and_survives_a_dead_process():
    with MemoryProbe(torch.device("cpu"), 1) as probe:
        assert probe.peak(hold, 100) == pytest.approx(100, abs=5)
        with pytest.raises(RuntimeError, match="killed"):
            probe.peak(die)
        assert probe.peak(hold, 20) == pytest.approx(20, abs=5)


@pytest.mark.slow
def test_a_failing_system_is_a_row_with_the_reason(tmp_path, capsys):
    # TFGridNetV3 has no such option; TFGridNetSFI refuses this value of it.
    options = ["--rates", "8000", "--systems", "v3", "configured", "--skip_training"]
    status, values = bench(tmp_path, *options, compression=2.0)
    rows = rows_of(values)
    assert status == 0
    assert "compression=2.0" in rows["configured"]["failed"]["infer"]
    assert rows["configured"]["infer_s"] is None
    assert rows["v3"]["infer_s"] > 0 and rows["v3"]["train_s"] is None
    assert "compression=2.0 must lie in (0, 1]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, message",
    [
        (["--systems", "v4"], "--systems v4 is not one of v3, v3_amp, ours"),
        (["--rates", "11025"], "--rates 11025 is not one of 8000, 16000"),
        (["--repeat", "0"], "--repeat 0 must be above 0"),
        (["--device", "tpu"], "--device 'tpu' is not one of auto, cpu, cuda"),
    ],
)
def test_wrong_options_name_what_is_accepted(tmp_path, capsys, options, message):
    assert bench(tmp_path, *options)[0] == 2
    assert message in capsys.readouterr().err


def test_an_unknown_preset_names_those_there_are(capsys):
    assert disc_main(["--preset", "huge"]) == 2
    assert "--preset huge is not one of fast, mini, paper, small" in capsys.readouterr().err
