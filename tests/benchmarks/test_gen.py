"""`python -m benchmarks.gen`: the same tokens as transformers, a table of both."""

import json

import pytest

from benchmarks.gen import SYSTEMS
from benchmarks.gen import main as gen_main

CONF = """
encoder: stft
encoder_conf: {n_fft: 1920, hop_length: 960, default_fs: 48000}
separator: ar_refiner
separator_conf:
  semantic: wavlm
  vocab_size: 20
  lm_layers: 2
  lm_dim: 32
  lm_heads: 2
  lm_ffn: 64
  channels: 8
  downs: 2
  blocks: 1
  hidden: 8
  heads: 2
decoder: stft
decoder_conf: {n_fft: 1920, hop_length: 960, default_fs: 48000}
criterions:
  - {name: regression, conf: {}, wrapper: fixed_order, wrapper_conf: {weight: 1.0}}
"""


@pytest.fixture
def bench(tmp_path):
    def run(*options):
        config, file = tmp_path / "train_gen.yaml", tmp_path / "bench.json"
        config.write_text(CONF)
        given = ["--config", str(config), "--json", str(file), "--device", "cpu", "--repeat", "1"]
        status = gen_main([*given, "--seconds", "0.2", *options])
        return status, json.loads(file.read_text()) if file.is_file() else None

    return run


@pytest.mark.slow
def test_every_system_at_every_batch_and_the_whole_branch(bench, capsys):
    status, values = bench("--batch", "1", "3", "--file_s", "1.5", "--fs", "24000")
    assert status == 0
    decoding, branch = values["rows"][:8], values["rows"][8:]
    assert [(row["batch"], row["system"]) for row in decoding] == [
        (batch, system) for batch in (1, 3) for system in SYSTEMS
    ]
    for row in decoding:
        assert row["failed"] == {} and row["ms"] > 0 and row["speed_1"] > 0
        if row["system"] in ("generate", "float32"):
            assert row["agreement"] in (None, 1.0), "tokens differ from transformers'"
        if row["system"] == "int8":
            assert row["weights_mb"] < 0.3 * decoding[1]["weights_mb"]
    assert [(row["dtype"], row["batch"]) for row in branch] == [
        (dtype, batch) for dtype in SYSTEMS[1:] for batch in (1, 3)
    ]
    for row in branch:
        parts = [row[f"{part}_s"] for part in ("semantic", "lm", "refiner", "other")]
        assert min(parts) > 0 and sum(parts) == pytest.approx(1.5 * row["rtf"])
    assert "to floor" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, message",
    [
        (["--systems", "int4"], "--systems int4 is not one of generate, float32, bfloat16, int8"),
        (["--batch", "0"], "--batch 0 must be above 0"),
        (["--file_s", "0"], "--file_s 0.0 must be above 0"),
    ],
)
def test_wrong_options_name_what_is_accepted(bench, capsys, options, message):
    assert bench(*options) == (2, None)
    assert message in capsys.readouterr().err
