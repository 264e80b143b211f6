"""Levels, clean speech and noise alone: what training sets hold beside distorted speech."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import soundfile
from helpers.simulation_sources import make_sources

from espnet_hybridse.cli.main import main
from espnet_hybridse.simulation.check import check_sets
from espnet_hybridse.simulation.config import ConfigError, config_from_dict, load_config
from espnet_hybridse.simulation.degrade import PEAK, simulate
from espnet_hybridse.simulation.distortions.noise import active_power
from espnet_hybridse.simulation.draw import DistortionDrawer
from espnet_hybridse.simulation.meta import CLEAN_SNR_DB, NOISE_ONLY_SNR_DB, read_meta
from espnet_hybridse.simulation.parameters import sample_parameters
from espnet_hybridse.simulation.set_lists import distortion_label
from espnet_hybridse.simulation.sources import Sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("data") / "train", 1)


@pytest.fixture(scope="module")
def sources(folder):
    return Sources.from_folder(folder)


def drawn(sources, num=40, **values):
    config = config_from_dict({"reverberation": {"probability": 0.3}, **values})
    return list(sample_parameters(sources, config, num, seed=3))


def level_db(wav, fs):
    return 10 * np.log10(active_power(wav, fs))


def test_shares_are_those_of_the_config(sources):
    samples = drawn(sources, 2000, clean_probability=0.05, noise_only_probability=0.1)
    labels = Counter(distortion_label(sample) for sample in samples)
    assert labels["clean"] == pytest.approx(100, abs=30)
    assert labels["noise_only"] == pytest.approx(200, abs=42)
    assert sum(sample.noise_only for sample in samples) == labels["noise_only"]


def test_switched_off_options_leave_every_sample_as_it_was(sources):
    plain, off = drawn(sources), drawn(sources, level_db=None, clean_probability=0.0)
    assert plain == off
    leveled = drawn(sources, level_db=[-30, -20])
    assert [s.speech_uid for s in leveled] == [s.speech_uid for s in plain]
    assert all(-30 <= s.level_db <= -20 for s in leveled)


def test_speed_moves_pitch_and_length_together(tmp_path):
    fs, hz = 16000, 440.0
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * hz * np.arange(3 * fs) / fs), fs)
    folder = make_sources(tmp_path / "data", 1)
    (folder / "speech.scp").write_text(f"a {fs} {tmp_path / 'a.wav'}\n")
    (folder / "utt2spk").write_text("a someone\n")
    sources = Sources.from_folder(folder)
    values = {"rates": {fs: 1}, "clean_probability": 1.0, "reverberation": {"probability": 0.0}}
    samples = drawn(sources, 8, speed=[0.8, 1.25], **values)
    assert len({sample.speed for sample in samples}) > 4
    for sample in samples:
        _, clean = simulate(sample, sources)
        assert clean.size == sample.length == round(3 * fs / sample.speed)
        middle = clean[fs // 2 : -fs // 2] * np.hanning(clean.size - fs)
        found = np.abs(np.fft.rfft(middle, 1 << 18)).argmax() * fs / (1 << 18)
        assert found == pytest.approx(hz * sample.speed, abs=0.5)


def test_clean_samples_are_their_own_target(sources):
    sample = dataclasses.replace(
        drawn(sources)[0], snr_dB=CLEAN_SNR_DB, rir_uid="none", augmentation="none"
    )
    noisy, clean = simulate(sample, sources)
    np.testing.assert_array_equal(noisy, clean)
    assert np.abs(clean).max() == pytest.approx(PEAK, abs=1e-6)


def test_noise_alone_has_silence_as_its_target(sources):
    sample = dataclasses.replace(drawn(sources)[0], snr_dB=NOISE_ONLY_SNR_DB, level_db=-28.0)
    noisy, clean = simulate(sample, sources)
    assert noisy.shape == clean.shape == (sample.length,)
    assert not clean.any()
    assert level_db(noisy, sample.fs) == pytest.approx(-28, abs=0.1)


@pytest.mark.parametrize("wanted", [-35.0, -25.0])
def test_target_has_the_level_that_meta_says_and_both_share_the_gain(sources, wanted):
    sample = dataclasses.replace(drawn(sources)[1], level_db=wanted)
    noisy, clean = simulate(sample, sources)
    loud_noisy, loud_clean = simulate(dataclasses.replace(sample, level_db=0.0), sources)
    assert level_db(clean, sample.fs) == pytest.approx(wanted, abs=0.1)
    gain = np.abs(clean).max() / np.abs(loud_clean).max()
    np.testing.assert_allclose(noisy, gain * loud_noisy, atol=1e-6)


def test_a_level_that_would_clip_stays_below_the_peak(sources):
    for sample in drawn(sources, 10, level_db=[-3, -1]):
        noisy, clean = simulate(sample, sources)
        assert max(np.abs(noisy).max(), np.abs(clean).max()) == pytest.approx(PEAK, abs=1e-6)


def test_coverage_sets_hold_distorted_speech_only(sources):
    config = config_from_dict({"coverage": True, "clean_probability": 0.5})
    samples = sample_parameters(sources, config, 60, seed=0)
    assert all(NOISE_ONLY_SNR_DB < sample.snr_dB < CLEAN_SNR_DB for sample in samples)


def test_a_set_with_silent_targets_renders_passes_the_checks_and_reads_back(folder, tmp_path):
    config = tmp_path / "simulation.yaml"
    config.write_text(
        "noise_only_probability: 0.5\nlevel_db: [-30, -20]\nclean_probability: 0.3\n"
        "reverberation: {probability: 0}\n"
    )
    out = tmp_path / "dump" / "train"
    command = ["simulate", "--sources", str(folder), "--out", str(out), "--config", str(config)]
    assert main([*command, "--num", "12"]) == 0
    silent = [sample for sample in read_meta(out / "meta.tsv") if sample.noise_only]
    assert silent
    assert not soundfile.read(silent[0].clean_path)[0].any()
    (report,) = check_sets([out])
    assert report.kept == 12
    assert all(abs(snr) < 100 for snrs in report.snrs.values() for snr in snrs)


def test_the_drawer_of_training_on_the_fly_draws_them_too(sources):
    config = config_from_dict({"clean_probability": 0.5, "noise_only_probability": 0.5})
    drawer = DistortionDrawer(sources, config)
    rng = np.random.default_rng(0)
    snrs = {drawer.draw(rng, 16000, 16000).snr_db for _ in range(20)}
    assert snrs == {CLEAN_SNR_DB, NOISE_ONLY_SNR_DB}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level_db": [-10, -35]}, "level_db"),
        ({"level_db": -20}, "expected a list"),
        ({"speed": [0.1, 1.0]}, "speed"),
        ({"clean_probability": 0.7, "noise_only_probability": 0.7}, "together at most 1"),
        ({"noise_only_probability": -0.1}, "noise_only_probability: -0.1; accepted: 0 to 1"),
    ],
)
def test_nonsense_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict(values)


def test_the_open_corpus_config_is_readable():
    config = load_config("conf/open/simulation.yaml")
    assert set(config.rates) == {8000, 16000, 22050, 24000, 32000, 44100, 48000}
    assert config.level_db == (-35, -10)
