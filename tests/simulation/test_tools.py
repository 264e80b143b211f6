"""`hybridse simulate`'s other uses: a demonstration, rooms, wind, lists of dry speech."""

import numpy as np
import pytest
import soundfile
from helpers.simulation_sources import make_sources, voice

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import read_list, read_sources
from espnet_hybridse.simulation.demo import distorted, write_demo


@pytest.mark.slow
def test_demo_writes_every_distortion_and_a_picture(tmp_path):
    file = tmp_path / "voice.wav"
    soundfile.write(file, voice(1.0, 11025), 11025)
    paths = write_demo(file, tmp_path / "demo")
    names = {path.stem for path in paths if path.suffix == ".flac"}
    assert names == {"clean", *distorted(voice(1.0, 8000), 8000, np.random.default_rng(0))}
    assert len(names) == 11
    clean, fs = soundfile.read(tmp_path / "demo" / "clean.flac")
    assert fs == 16000, "the next of the seven rates"
    for path in paths[:-1]:
        wav, other = soundfile.read(path)
        assert (other, wav.size) == (fs, clean.size)
        assert path.stem == "clean" or not np.array_equal(wav, clean)
    assert paths[-1].read_bytes()[:4] == b"\x89PNG"


def test_demo_names_a_file_it_cannot_use(tmp_path, capsys):
    (tmp_path / "no.wav").write_bytes(b"x")
    for name, reason in (("none.wav", "no such file"), ("no.wav", "unreadable")):
        command = ["simulate", "--demo", str(tmp_path / name), "--out", str(tmp_path / "demo")]
        assert main(command) == 2
        assert f"{name}: {reason}" in capsys.readouterr().err


@pytest.mark.parametrize("fs", RATES)
def test_demo_has_something_to_show_at_every_rate(fs):
    clean = voice(0.5, fs)
    for name, signal in distorted(clean, fs, np.random.default_rng(0)).items():
        assert signal.shape == clean.shape and np.abs(signal - clean).max() > 1e-4, name


@pytest.mark.slow
def test_wind_and_rooms_are_made_with_their_lists(tmp_path):
    pytest.importorskip("pyroomacoustics")
    command = ["simulate", "--out", str(tmp_path), "--seed", "3"]
    assert main([*command, "--make_wind", "1", "--make_rirs", "2"]) == 0
    for name, number in (("wind.scp", 1), ("rir.scp", 2)):
        table = read_sources(tmp_path / name)
        assert len(table) == number
        for fs, path in table.values():
            assert soundfile.info(path).samplerate == fs == 48000
    assert main([*command, "--make_wind", "0", "--make_rirs", "9"]) == 2
    assert len(read_sources(tmp_path / "rir.scp")) == 2, "refused before anything is made"


def test_dry_lists_name_the_speech_itself(tmp_path):
    folder = make_sources(tmp_path / "data", 4, num=3)
    soundfile.write(folder / "odd.wav", voice(1.0, 11025), 11025)
    with open(folder / "speech.scp", "a") as handle:
        handle.write(f"odd 11025 {folder}/odd.wav\n")
    with open(folder / "utt2spk", "a") as handle:
        handle.write("odd spk4\n")
    out = tmp_path / "dry"
    assert main(["simulate", "--sources", str(folder), "--out", str(out), "--lists_only"]) == 0
    assert not (out / "wav.scp").exists()
    for uid, path in read_list(out / "spk1.scp").items():
        info = soundfile.info(path)
        assert read_list(out / "utt2fs")[uid] == str(info.samplerate)
        assert read_list(out / "speech_length.scp")[uid] == str(info.frames)
    assert "rate 11025 Hz" in (out / "quarantine.tsv").read_text()
