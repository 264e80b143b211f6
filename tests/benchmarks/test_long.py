"""`python -m benchmarks.long`: a recording through enhance, with weights made on the spot."""

import pytest

from benchmarks import long
from benchmarks.command import preset_config
from benchmarks.long import FILES
from benchmarks.long import main as long_main
from espnet_hybridse.fileio.yaml_config import read_yaml


@pytest.mark.slow
def test_every_sample_comes_back_and_one_piece_takes_more_memory_than_many():
    configs = {name: read_yaml(preset_config("mini", file)) for name, file in FILES.items()}
    settings = long.LongSettings([0.1], "disc", 8000, segment_s=2.0, batch=1, whole=0.5, threads=1)
    pieces, whole = long.run(configs, settings)
    assert pieces["samples"] == pieces["written"] == 48000
    assert whole["samples"] == whole["written"] == 240000
    assert whole["mb"] > pieces["mb"] + 20


def test_wrong_options_name_what_is_accepted(capsys):
    assert long_main(["--rate", "11025"]) == 2
    assert "--rate 11025 is not one of 8000" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--minutes 0 must be above 0"):
        long.LongSettings([0])
