"""`python -m benchmarks.simulate`: ours and the plain reading of every distortion in one table."""

import json
import shutil

import numpy as np
import pytest
from helpers.simulation_sources import voice

from benchmarks import simulate_plain
from benchmarks.simulate import MIX, PARTS, make_bench_sources
from benchmarks.simulate import main as simulate_main
from espnet_hybridse.simulation.degrade import simulate
from espnet_hybridse.simulation.distortions.bandwidth import BandwidthLimitation
from espnet_hybridse.simulation.distortions.codec import Codec
from espnet_hybridse.simulation.meta import Sample


@pytest.mark.slow
def test_every_distortion_and_the_workers_are_measured(tmp_path, capsys):
    file = tmp_path / "bench.json"
    options = ["--num", "2", "--repeat", "1", "--workers", "1", "--skip_plain"]
    assert simulate_main([*options, "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [row["what"] for row in rows] == [*PARTS, MIX, f"{MIX}, 1 worker"]
    assert all(row["ours"] > 0 and row["plain"] is None for row in rows)
    assert "| packet_loss |" in capsys.readouterr().out
    assert simulate_main(["--num", "0"]) == 2


def test_the_plain_reading_makes_about_the_same_audio(tmp_path):
    pytest.importorskip("resampy")
    import soundfile

    sources = make_bench_sources(tmp_path, 0, num=1)
    fs, path = sources.speech["s0"]
    length = soundfile.info(path).frames
    sample = Sample("a_1", "n", "s0", "s0", "c", "n0", 60.0, "none", "none", fs, length)
    simulate_plain.render(sample, sources, tmp_path)
    noisy, _ = simulate(sample, sources)
    plain = soundfile.read(tmp_path / "noisy_a_1.flac")[0]
    assert plain.size == noisy.size
    assert np.corrcoef(plain, noisy)[0, 1] > 0.95


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg program")
@pytest.mark.parametrize("kind", [("mp3", None, 4), ("ogg", "vorbis", 5), ("ogg", "opus", 5)])
def test_the_plain_codecs_work(tmp_path, kind):
    pytest.importorskip("resampy", reason="extra 'bench' is not installed")
    wav = voice(0.5, 16000)
    coded = simulate_plain._codec(wav, 16000, Codec(*kind), tmp_path)
    assert coded.shape == wav.shape and np.abs(coded).max() > 0.01
    limited = simulate_plain._distort(
        wav, 16000, BandwidthLimitation("kaiser_best", 8000), tmp_path
    )
    assert np.abs(limited).max() > 0.01
