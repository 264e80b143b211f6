"""What a simulation may take from the challenge or leave: rates, the level of wind, long rooms."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.simulation_sources import make_sources, voice

from espnet_hybridse.cli.main import main
from espnet_hybridse.simulation.config import config_from_dict, load_config
from espnet_hybridse.simulation.degrade import simulate
from espnet_hybridse.simulation.distortions.reverberation import Reverberation
from espnet_hybridse.simulation.meta import read_meta
from espnet_hybridse.simulation.parameters import sample_parameters
from espnet_hybridse.simulation.sources import Sources

CONF = Path(__file__).parents[2] / "conf"
NEVER = {"probability": 0}
WIND = {"probability": 1, "clipping_probability": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Speech at 48, 44.1, 16 and, which is none of the seven rates, 11.025 kHz."""
    folder = make_sources(tmp_path_factory.mktemp("data") / "train", 1)
    soundfile.write(folder / "odd.wav", voice(1.0, 11025), 11025)
    with open(folder / "speech.scp", "a") as handle:
        handle.write(f"odd 11025 {folder}/odd.wav\n")
    with open(folder / "utt2spk", "a") as handle:
        handle.write("odd odd\n")
    return folder


@pytest.fixture(scope="module")
def sources(folder):
    return Sources.from_folder(folder)


def drawn(sources, num=14, **values):
    return list(sample_parameters(sources, config_from_dict(values), num, seed=3))


def test_native_rates_are_those_of_the_sources(sources):
    own = {uid: fs for uid, (fs, _) in sources.speech.items()} | {"odd": 8000}
    for coverage in (False, True):
        samples = drawn(sources, 28, rates="native", coverage=coverage)
        assert {s.speech_uid: s.fs for s in samples} == own
    plain = drawn(sources, 28)
    assert Counter(s.speech_uid for s in plain) == Counter(
        s.speech_uid for s in drawn(sources, 28, rates="native")
    )


def test_the_paper_preset_keeps_rates_and_can_be_asked_for_others(folder, tmp_path):
    config = CONF / "paper/simulation.yaml"
    assert load_config(config).rates == "native" and load_config(config).wind.mix_gain == 0.5
    command = ["simulate", f"--sources={folder}", f"--config={config}", "--num=8", "--params_only"]
    for more, rates in (([], {48000, 44100, 16000, 8000}), (["--rates", "8000"], {8000})):
        assert main([*command, f"--out={tmp_path}/set", *more]) == 0
        assert {sample.fs for sample in read_meta(tmp_path / "set/meta.tsv")} == rates


@pytest.mark.parametrize("rates", ["natif", 16000, ["native"]])
def test_other_rates_are_refused_with_what_is_accepted(rates):
    with pytest.raises(ValueError, match=r"rates: .*; expected weights, .*\}, or native"):
        config_from_dict({"rates": rates})


def test_wind_of_the_challenge_is_half_as_loud_against_its_target(sources):
    values = {"wind": WIND, "reverberation": NEVER, "num_distortions": {0: 1}}
    [sample] = drawn(sources, 1, **values)
    [halved] = drawn(sources, 1, **{**values, "wind": {**WIND, "mix_gain": 0.5}})
    assert halved == dataclasses.replace(sample, wind_mix_gain=0.5)
    (noisy, clean), (half, same) = simulate(sample, sources), simulate(halved, sources)
    # Both under one gain of their own: against the target, the mixture has halved.
    scale = np.abs(same).max() / np.abs(clean).max()
    np.testing.assert_allclose(same, scale * clean, atol=1e-4)
    np.testing.assert_allclose(half, 0.5 * scale * noisy, atol=1e-4)
    with pytest.raises(ValueError, match="wind.mix_gain: .*within 0.01 to 1"):
        config_from_dict({"wind": {"mix_gain": 0}})


def test_lists_say_how_loud_wind_was_and_those_of_the_challenge_need_not(sources, tmp_path):
    config = config_from_dict({"wind": {**WIND, "mix_gain": 0.7}})
    samples = list(sample_parameters(sources, config, 2, 0, tmp_path))
    lines = ["\t".join(map(str, dataclasses.astuple(s))) for s in samples]
    names = [spec.name for spec in dataclasses.fields(samples[0])]
    for left, gain in ((len(names), 0.7), (names.index("wind_mix_gain"), 1.0), (12, 0.5)):
        rows = ["\t".join(line.split("\t")[:left]) for line in ("\t".join(names), *lines)]
        (tmp_path / "meta.tsv").write_text("\n".join(rows) + "\n")
        assert {s.wind_mix_gain for s in read_meta(tmp_path / "meta.tsv")} == {gain}


def test_a_room_that_sounds_longer_than_the_speech_is_cut(sources, tmp_path):
    fs, speech = 16000, voice(0.5, 16000)
    rir = 0.1 * np.random.default_rng(0).standard_normal(3 * fs) * np.exp(-np.arange(3 * fs) / fs)
    rir[:160] = 0
    rir[160] = 1.0
    longer = np.convolve(speech, rir)
    room = Reverberation(rir, 50.0)
    np.testing.assert_allclose(room.apply(speech, fs), longer[160 : 160 + speech.size], atol=1e-5)
    soundfile.write(tmp_path / "hall.wav", rir, fs, subtype="FLOAT")
    hall = dataclasses.replace(sources, rir={"hall": (fs, str(tmp_path / "hall.wav"))})
    values = {"wind": NEVER, "rates": {fs: 1}, "reverberation": {"probability": 1}}
    for sample in drawn(hall, 4, **values):
        assert sample.rir_uid == "hall" and sample.length < rir.size
        noisy, clean = simulate(sample, hall)
        assert noisy.size == clean.size == sample.length


@pytest.mark.parametrize("direct", [1.0, -0.4])
def test_without_early_reflections_the_target_is_the_dry_speech(direct):
    fs, speech = 16000, voice(0.5, 16000)
    rir = np.random.default_rng(0).standard_normal(fs) * np.exp(-np.arange(fs) / 2000) * 0.005
    rir[200] = direct
    room = Reverberation(rir, early_ms=0.0)
    np.testing.assert_array_equal(room.target(speech, fs), np.sign(direct) * speech)
    # Aligned with what is heard, whose direct path has the height of the target.
    heard = room.apply(speech, fs)
    assert np.dot(heard, np.sign(direct) * speech) / np.dot(speech, speech) > 0.7


def test_dry_targets_of_a_whole_set_are_its_speech(sources):
    values = {"wind": NEVER, "reverberation": {"probability": 1, "early_ms": 0}}
    values |= {"num_distortions": {0: 1}, "rates": "native", "highpass_hz": 0}
    for sample in drawn(sources, 6, **values):
        dry, fs = soundfile.read(sources.speech[sample.speech_uid][1], dtype="float32")
        clean = simulate(sample, sources)[1]
        assert sample.rir_uid != "none" or fs not in (16000, 48000)
        if fs == sample.fs:
            expected = dry / np.abs(dry).max()
            np.testing.assert_allclose(clean / np.abs(clean).max(), expected, atol=1e-3)
