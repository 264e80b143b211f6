"""The network is asked about what the gate takes for clean."""

import shutil

import numpy as np
import pytest
import soundfile
import yaml

from espnet_hybridse import Enhancer
from espnet_hybridse.demo.player import gate_text
from espnet_hybridse.fileio.audio import read_audio
from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.inference.files.jobs import Job
from espnet_hybridse.inference.files.one_file import enhance_file, enhance_together
from espnet_hybridse.inference.gate import Decision, decide_whole
from espnet_hybridse.inference.second_look import KEY, Loudest, change_db, reconsidered


@pytest.fixture(scope="module")
def clean(request):
    """Speech that the gate leaves alone, (T,) at 16 kHz."""
    path = request.path.parents[1] / "data/speech/goforward.flac"
    wav = read_audio(path)[0]
    wav = np.concatenate([wav, np.zeros(4000, np.float32)] * 2)
    assert decide_whole(wav[None], 16000).share < 1
    return wav


@pytest.fixture
def saying(models, tmp_path):
    """Makes the folder of a model whose configuration says how much it changes clean speech."""

    def make(value):
        folder = tmp_path / f"says_{value}"
        shutil.copytree(models / "disc", folder)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, KEY: value}))
        return folder

    return make


@pytest.mark.parametrize("size", [100, 4000, 10**6])
def test_the_loudest_seconds_of_the_channels_average(size):
    rng = np.random.default_rng(0)
    levels = np.repeat([[0.1, 0.3, 0.2], [0.1, 0.1, 0.4]], 6000, axis=1)
    wav = (levels * rng.standard_normal(levels.shape)).astype(np.float32)
    loudest = Loudest(1000)
    for start in range(0, wav.shape[1], size):
        loudest.add(wav[:, start : start + size])
    np.testing.assert_array_equal(loudest.wav(), wav.mean(0)[12000:])


def test_what_was_heard_of_the_network_is_forgotten_with_the_seconds():
    loudest = Loudest(1000)
    loudest.add(np.full((1, 6000), 0.1, np.float32))
    assert loudest.wav().size == 6000
    loudest.change_db = -30.0
    loudest.add(np.full((1, 6000), 0.05, np.float32))
    assert loudest.wav()[0] == np.float32(0.1) and loudest.change_db == -30.0
    loudest.add(np.full((1, 3000), 0.5, np.float32))
    assert loudest.wav()[0] == 0.5 and loudest.change_db is None


def test_a_decision_is_changed_only_upwards():
    decision = Decision(0.4, 0.5, "snr_db", None)
    shares = [reconsidered(decision, change, -29.0).share for change in (-40, -27.5, -27, -26, 0)]
    assert shares == [0.4, 0.4, 0.5, 1.0, 1.0]
    changed = reconsidered(decision, -20.0, -29.0)
    assert (changed.because, changed.as_dict()["change_db"]) == (KEY, -20.0)
    assert reconsidered(decision, -40.0, -29.0).because == "snr_db"


def test_the_demo_says_what_decided(clean):
    decision = reconsidered(decide_whole(clean[None], 16000), -20.0, -29.0)
    text = gate_text(decision)
    assert "takes 100 % of the enhancement: it measures as clean speech" in text
    assert "but the network changes more in it, -20 dB. Speech at" in text


def test_an_offset_is_no_change():
    wav = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert change_db(wav, wav + 0.3) < -100 and change_db(wav, 1.1 * wav) == pytest.approx(-20, 0.1)


def test_a_network_that_changes_little_overrules_the_gate(clean, saying, models, tmp_path):
    enhanced = Enhancer.from_pretrained(models / "disc", gate="off")(clean, 16000)
    path = tmp_path / "clean.wav"
    soundfile.write(path, clean, 16000, subtype="FLOAT")
    measured = decide_whole(clean[None], 16000)
    for value, share in ((None, measured.share), (60, measured.share), (-60, 1.0)):
        enhancer = Enhancer.from_pretrained(saying(value))
        whole = enhancer(clean, 16000)
        streamed = np.concatenate(list(enhancer.stream([clean], 16000)))
        np.testing.assert_array_equal(streamed, whole)
        np.testing.assert_array_equal(enhancer.many([clean], 16000)[0], whole)
        job = Job("a", path, tmp_path / f"{value}.wav")
        results = [enhance_file(enhancer, job)]
        results += enhance_together(enhancer, [job], {job: read_info(path)})
        for result in results:
            assert result.decision.share == pytest.approx(share)
            assert (result.decision.change_db is None) == (value is None)
        np.testing.assert_allclose(soundfile.read(job.target)[0], whole, atol=1e-6)
        assert (np.abs(whole - enhanced).max() < np.abs(whole - clean).max()) == (share == 1)


def test_speech_in_one_of_two_channels_is_judged_as_by_itself(clean, saying):
    enhancer, changes = Enhancer.from_pretrained(saying(60)), []
    for rows in (clean[None], np.stack([0 * clean, clean]), np.stack([clean, -clean])):
        loudest = Loudest(16000)
        loudest.add(rows)
        changes.append(enhancer.look_again(decide_whole(rows, 16000), loudest).change_db)
    assert changes[1:] == pytest.approx(changes[:1] * 2, abs=1.1)


def test_the_share_that_is_mixed_in_plays_no_part(clean, saying):
    changes = []
    for mix in (1.0, 0.1):
        enhancer, loudest = Enhancer.from_pretrained(saying(float(mix)), mix=mix), Loudest(16000)
        loudest.add(clean[None])
        decision = enhancer.look_again(decide_whole(clean[None], 16000), loudest)
        changes.append(decision.change_db)
    assert changes[0] == pytest.approx(changes[1], abs=0.1)
    nothing = Enhancer.from_pretrained(saying(-99), mix=0.0)
    assert np.array_equal(nothing(clean, 16000), clean)


def test_a_configuration_that_says_no_number_is_refused(saying):
    with pytest.raises(ValueError, match="clean_change_db: 'much' .* expected dB, as -28.5"):
        Enhancer.from_pretrained(saying("much"))
