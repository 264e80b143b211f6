"""`python -m benchmarks.fusion`: what the learned quality term costs in a training step."""

import json

import pytest
import yaml

from benchmarks.fusion import SYSTEMS
from benchmarks.fusion import main as fusion_main

STFT = {"n_fft": 960, "hop_length": 480, "default_fs": 48000}
TERM = {"wrapper": "fixed_order", "wrapper_conf": {"weight": 1.0}}
CONF = {
    "encoder": "stft",
    "encoder_conf": STFT,
    "separator": "uses_fusion",
    "separator_conf": {"channels": 8, "n_blocks": 1, "hidden": 8, "n_head": 2},
    "decoder": "stft",
    "decoder_conf": STFT,
    "criterions": [
        {"name": "l1_masked", "conf": {}, **TERM},
        {"name": "sqa", "conf": {"checkpoint": None}, **TERM},
    ],
}


@pytest.fixture
def bench(tmp_path):
    def run(config, *options):
        path, file = tmp_path / "train_fusion.yaml", tmp_path / "bench.json"
        path.write_text(yaml.safe_dump(config))
        given = ["--config", str(path), "--json", str(file), "--device", "cpu", "--repeat", "1"]
        status = fusion_main([*given, "--seconds", "0.2", "--batch", "1", *options])
        return status, json.loads(file.read_text())["rows"] if status == 0 else None

    return run


@pytest.mark.slow
def test_time_and_memory_of_a_step_with_and_without_the_term(bench):
    status, rows = bench(CONF, "--systems", "off", "dnsmos")
    off, dnsmos = rows
    assert status == 0 and (off["system"], dnsmos["system"]) == ("off", "dnsmos")
    assert not off["failed"] and not dnsmos["failed"]
    assert off["ms_x"] == 1 and min(dnsmos["ms_x"], dnsmos["mb"], off["mb"]) > 0


@pytest.mark.parametrize(
    "options, message",
    [
        (["--systems", "huge"], f"--systems huge is not one of {', '.join(SYSTEMS)}"),
        (["--rate", "11025"], "--rate 11025 is not one of 8000"),
        (["--batch", "0"], "--batch 0 must be above 0"),
    ],
)
def test_wrong_options_name_what_is_accepted(bench, capsys, options, message):
    assert bench(CONF, *options) == (2, None)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_config_without_the_term_is_refused(bench, capsys):
    assert bench({**CONF, "criterions": CONF["criterions"][:1]})[0] == 2
    assert "no criterion 'sqa'" in capsys.readouterr().err
