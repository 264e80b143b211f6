"""What can be scored: lists, folders, files, several channels, names that are no text."""

import os

import numpy as np
import pytest
import soundfile

from espnet_hybridse.fileio.lists import ListError, write_list
from espnet_hybridse.scoring.engine import score
from espnet_hybridse.scoring.inputs import audio_tables
from espnet_hybridse.scoring.rows import read_quarantine, read_rows

LIGHT = ["SI-SDR", "LSD"]


def noise(seed, samples=8000):
    return 0.1 * np.random.default_rng(seed).normal(size=samples)


def mixed(ref, gain):
    """Its SI-SDR is about -20 log10(gain)."""
    return ref + gain * noise(99, len(ref))


@pytest.fixture
def files(tmp_path):
    """Folders clean/ and out/ of two files, in a subfolder and with other endings."""
    for name, seed in (("a", 1), ("day/b", 2)):
        for folder, wav in (("clean", noise(seed)), ("out", mixed(noise(seed), 0.1))):
            path = tmp_path / folder / f"{name}.{'wav' if folder == 'clean' else 'flac'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, wav, 16000, subtype="PCM_16")
    return tmp_path


def values(out):
    return {uid: row["scores"]["SI-SDR"] for uid, row in read_rows(out / "scores.jsonl").items()}


def test_folders_are_scored_by_the_paths_in_them(files):
    assert score(files / "clean", files / "out", files / "s", LIGHT, nj=0).scored == 2
    found = values(files / "s")
    assert found.keys() == {"a", "day/b"} and all(19 < value < 21 for value in found.values())


def test_folders_of_other_structure_are_scored_by_names(files):
    (files / "out/wav").mkdir()
    for path in [files / "out/a.flac", files / "out/day/b.flac"]:
        path.rename(files / "out/wav" / path.name)
    mine, clean = audio_tables(files / "out", files / "clean")
    assert mine.keys() == clean.keys() == {"a", "b"}
    write_list(files / "out.scp", {"b": files / "out/wav/b.flac"})
    mine, clean = audio_tables(files / "out.scp", files / "clean")
    assert mine.keys() <= clean.keys() == {"a", "b"}


def test_two_files_belong_together_whatever_their_names(files):
    given = (files / "clean/a.wav", files / "out/a.flac")
    assert score(*given, files / "s", LIGHT, nj=0).scored == 1
    assert values(files / "s")["a"] == pytest.approx(20, abs=1)
    score(given[0], files / "out/day/b.flac", files / "other", LIGHT, nj=0)
    assert values(files / "other")["b"] < 0


def test_what_cannot_be_told_apart_or_is_not_there_is_named(files):
    soundfile.write(files / "out/a.wav", noise(1), 16000)
    with pytest.raises(ListError, match="a.flac and .*a.wav|a.wav and .*a.flac"):
        audio_tables(files / "out", None)
    (files / "empty").mkdir()
    with pytest.raises(ListError, match="no audio in it.*or name a list"):
        audio_tables(files / "empty", None)
    soundfile.write(files / "clean2.wav", noise(1), 16000)
    with pytest.raises(ValueError, match=r"no utterance in common \(a, … and clean2"):
        score(files / "clean", files / "clean2.wav", files / "s", LIGHT, nj=0)


def test_channels_are_scored_one_by_one(tmp_path):
    ref = np.stack([noise(1), noise(2)], 1)
    inf = np.stack([mixed(noise(1), 0.1), mixed(noise(2), 1.0)], 1)
    for name, wav in (
        ("ref", ref),
        ("inf", inf),
        ("mono", ref[:, 0]),
        ("three", inf[:, [0, 1, 1]]),
    ):
        soundfile.write(tmp_path / f"{name}.wav", wav, 16000, subtype="FLOAT")
    for index in (0, 1):
        soundfile.write(tmp_path / f"ref{index}.wav", ref[:, index], 16000, subtype="FLOAT")
        soundfile.write(tmp_path / f"inf{index}.wav", inf[:, index], 16000, subtype="FLOAT")
    alone = []
    for index in (0, 1):
        pair = (tmp_path / f"ref{index}.wav", tmp_path / f"inf{index}.wav")
        score(*pair, tmp_path / f"s{index}", ["SI-SDR"], nj=0)
        alone.append(values(tmp_path / f"s{index}")[f"inf{index}"])
    score(tmp_path / "ref.wav", tmp_path / "inf.wav", tmp_path / "both", ["SI-SDR"], nj=0)
    row = read_rows(tmp_path / "both/scores.jsonl")["inf"]
    assert row["channels"] == 2 and row["scores"]["SI-SDR"] == pytest.approx(np.mean(alone))
    score(tmp_path / "mono.wav", tmp_path / "inf.wav", tmp_path / "one", ["SI-SDR"], nj=0)
    assert values(tmp_path / "one")["inf"] < alone[0]  # the second channel is of other noise
    with pytest.raises(RuntimeError, match="3 channels, its reference has 2"):
        score(tmp_path / "ref.wav", tmp_path / "three.wav", tmp_path / "s", ["SI-SDR"], nj=0)


def test_channel_that_is_silent_is_named(tmp_path):
    soundfile.write(tmp_path / "ref.wav", noise(1), 16000)
    soundfile.write(tmp_path / "inf.wav", np.stack([noise(1), 0 * noise(1)], 1), 16000)
    with pytest.raises(RuntimeError, match="channel 2 of 2: silent"):
        score(tmp_path / "ref.wav", tmp_path / "inf.wav", tmp_path / "s", ["SI-SDR"], nj=0)


def test_names_that_are_no_text_are_scored_and_written_as_what_they_are(tmp_path):
    folder = os.fsencode(tmp_path)
    try:
        for kind in (b"clean", b"out"):
            os.mkdir(os.path.join(folder, kind))
            for name, seed in ((b"caf\xe9.wav", 1), (b"bad\xff.wav", 2)):
                path = os.fsdecode(os.path.join(folder, kind, name))
                soundfile.write(os.fsencode(path), noise(seed), 16000)
    except OSError:
        pytest.skip("this file system takes no such names")
    bad = os.fsdecode(os.path.join(folder, b"out", b"bad\xff.wav"))
    with open(bad, "wb") as handle:
        handle.write(b"no audio")
    summary = score(tmp_path / "clean", tmp_path / "out", tmp_path / "s", LIGHT, nj=0)
    assert (summary.scored, summary.quarantined) == (1, 1)
    assert list(values(tmp_path / "s")) == ["caf\\xe9"]
    assert "bad\\xff" in read_quarantine(tmp_path / "s/quarantine.tsv")
    assert score(tmp_path / "clean", tmp_path / "out", tmp_path / "s", LIGHT, nj=0).skipped == 1


@pytest.mark.parametrize("fs", [4000, 11025, 96000])
def test_rates_outside_the_seven_are_scored_too(tmp_path, fs):
    for name, wav in (("ref", noise(1, 2 * fs)), ("inf", mixed(noise(1, 2 * fs), 0.1))):
        soundfile.write(tmp_path / f"{name}.wav", wav, fs)
    score(tmp_path / "ref.wav", tmp_path / "inf.wav", tmp_path / "s", ["LSD", "SI-SDR"], nj=0)
    row = read_rows(tmp_path / "s/scores.jsonl")["inf"]
    assert row["fs"] == fs and not row["failed"]
