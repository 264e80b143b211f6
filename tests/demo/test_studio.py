"""What the page shows of a recording, without a browser."""

import threading

import numpy as np
import pytest
import soundfile

pytest.importorskip("PIL", reason="of the extra demo")

from espnet_hybridse import Enhancer  # noqa: E402
from espnet_hybridse.demo.examples import OWN, find_examples  # noqa: E402
from espnet_hybridse.demo.studio import Outcome, Progress, Stopped, Studio, Wish  # noqa: E402
from espnet_hybridse.demo.tracks import PEAK, Level, equal_loudness  # noqa: E402
from espnet_hybridse.fileio.formats import BadAudio  # noqa: E402
from espnet_hybridse.inference.files.loudness import Loudness  # noqa: E402

NOISY = OWN / "hiss_and_hum.flac"


@pytest.fixture(scope="module")
def studio():
    return Studio()


def outcome_of(studio, wish, folder):
    return list(studio.enhance(wish, folder))[-1]


@pytest.mark.slow
def test_every_signal_is_that_of_its_own_enhancer(studio, tmp_path):
    *steps, outcome = studio.enhance(Wish(NOISY), tmp_path)
    assert all(isinstance(step, Progress) for step in steps) and isinstance(outcome, Outcome)
    noisy, fs = soundfile.read(NOISY, dtype="float32")
    assert [one.name for one in outcome.signals] == ["noisy", "disc", "gen", "hybrid"]
    assert outcome.signals[0].result is None and outcome.mask.startswith("data:image/webp")
    for one in outcome.signals[1:]:
        made, made_fs = soundfile.read(one.result, dtype="float32")
        want = Enhancer.from_pretrained(branch=one.name)(noisy, fs)
        assert made_fs == fs and made.size == noisy.size
        assert np.abs(made - want).max() < 2e-4, "FLAC of 16 bits"
        assert one.picture.startswith("data:image/webp")
    before, *after = [one.scores["OVRL"] for one in outcome.signals if one.scores]
    assert not after or min(after) > before + 0.3


@pytest.mark.slow
def test_all_are_played_at_one_loudness(studio, tmp_path):
    outcome = outcome_of(studio, Wish(NOISY), tmp_path)
    heard = []
    for one in outcome.signals:
        wav, fs = soundfile.read(one.sound)
        meter = Loudness(fs, 1)
        meter.add(wav[None].astype(np.float32))
        heard.append(meter.value())
        assert np.abs(wav).max() <= PEAK + 1e-4
    assert np.ptp(heard) < 0.1


def test_gains_bring_to_one_loudness_and_clip_nothing():
    gains = equal_loudness(
        {
            "a": Level(-40.0, 0.05),
            "b": Level(-20.0, 0.5),
            "c": Level(-30.0, 0.9),
            "d": Level(None, 0),
        }
    )
    assert gains["d"] == 1.0
    played = {-40 + 20 * np.log10(gains["a"]), -20 + 20 * np.log10(gains["b"])}
    assert np.ptp(list(played)) < 1e-6
    # c has the least room for its peak, so it sets the loudness of all.
    assert gains["c"] * 0.9 == pytest.approx(PEAK)


@pytest.mark.slow
def test_options_do_what_they_say(studio, tmp_path):
    noisy, _ = soundfile.read(NOISY, dtype="float32")
    none = outcome_of(studio, Wish(NOISY, ("disc",), mix=0.0), tmp_path / "none")
    assert [one.name for one in none.signals] == ["noisy", "disc"] and none.mask is None
    assert np.abs(soundfile.read(none.signals[1].result)[0] - noisy).max() < 1e-4
    off = outcome_of(studio, Wish(NOISY, ("disc",), gate="off"), tmp_path / "off")
    assert off.decision is None and none.decision.share > 0


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ("none", "off"):
        (tmp_path / name).mkdir()


def test_what_cannot_be_used_says_why(studio, tmp_path):
    text = tmp_path / "notes.wav"
    text.write_text("no audio at all")
    with pytest.raises(BadAudio):
        outcome_of(studio, Wish(text), tmp_path / "none")
    with pytest.raises(ValueError, match="choose at least one of disc, gen, hybrid"):
        outcome_of(studio, Wish(NOISY, ()), tmp_path / "none")
    with pytest.raises(ValueError, match="--max_mb 0 must be above 0"):
        Studio(max_mb=0)
    small = Studio(max_mb=0.01)
    with pytest.raises(BadAudio, match="0.1 MB, and this page takes 0.01 MB at most"):
        outcome_of(small, Wish(NOISY), tmp_path / "none")


def test_a_long_recording_is_stopped_between_pieces(studio, tmp_path):
    wav, fs = soundfile.read(NOISY)
    long, stop = tmp_path / "long.wav", threading.Event()
    soundfile.write(long, np.tile(wav, 10), fs)
    seen = []
    with pytest.raises(Stopped):
        for step in studio.enhance(Wish(long, ("disc",)), tmp_path / "none", stop):
            seen.append(step)
            if step.done_s > 0:
                stop.set()
    assert 0 < seen[-1].done_s < seen[-1].total_s


def test_examples_are_there_at_once(tmp_path):
    assert set(find_examples(OWN)) == {path.stem for path in OWN.glob("*.flac")}
    assert len(find_examples(OWN, count=2)) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="neither a wav.scp nor audio there"):
        find_examples(tmp_path / "empty")
