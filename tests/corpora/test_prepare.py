"""Stage 1: what a user finds in data/ and what is said when the recordings cannot be used."""

import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_hybridse.cli.main import main
from espnet_hybridse.corpora.generated import make_rooms
from espnet_hybridse.corpora.mini import debian_packages as packages
from espnet_hybridse.corpora.mini.noise import find_noise, split_recordings
from espnet_hybridse.corpora.mini.speech import find_speech
from espnet_hybridse.corpora.noise_segments import make_pieces
from espnet_hybridse.corpora.own_folders import find_folder_speech
from espnet_hybridse.corpora.prepare import MiniOptions, prepare
from espnet_hybridse.corpora.recordings import NO_TEXT, Recording, decode, snr_db, trim
from espnet_hybridse.corpora.split import SETS, assign_speakers, drop_shared_prompts
from espnet_hybridse.corpora.utterances import Utterance, make_utterances
from espnet_hybridse.fileio.lists import read_list, read_sources
from espnet_hybridse.simulation.generated import generate_stationary


def word(seconds: float, fs: int, seed: int) -> np.ndarray:
    """A burst between silences, like a spoken word: (T,)."""
    rng = np.random.default_rng(seed)
    wav = 0.3 * rng.standard_normal(int(seconds * fs)) * np.hanning(int(seconds * fs))
    silence = 1e-5 * rng.standard_normal(int(0.3 * fs))
    return np.concatenate([silence, wav, silence]).astype(np.float32)


@pytest.fixture
def own(tmp_path):
    """Five speakers at two rates, one with transcripts, one broken file; and four noises."""
    for index, speaker in enumerate(["ann", "bob", "cy", "dee", "eve"]):
        folder = tmp_path / "speech" / speaker
        folder.mkdir(parents=True)
        for number in range(6):
            fs = 16000 if index % 2 else 44100
            soundfile.write(folder / f"w{number}.wav", word(1.0, fs, 10 * index + number), fs)
            (folder / f"w{number}.txt").write_text(f"{speaker} says {number}\n")
    (tmp_path / "speech" / "ann" / "broken.wav").write_bytes(b"RIFF of nothing")
    (tmp_path / "noise").mkdir()
    for number in range(4):
        noise = generate_stationary(6.0, 16000, np.random.default_rng(number))
        soundfile.write(tmp_path / "noise" / f"n{number}.flac", 0.1 * noise, 16000)
    return tmp_path


def prepare_own(own, *extra):
    folders = ["--speech_dir", str(own / "speech"), "--noise_dir", str(own / "noise")]
    places = ["--out", str(own / "data"), "--downloads", str(own / "downloads")]
    return main(
        [
            "prepare",
            *folders,
            *places,
            "--num_rirs",
            "9",
            "--num_generated",
            "3",
            "--lang",
            "en",
            *extra,
        ]
    )


@pytest.mark.slow
def test_own_folders_give_three_sets_without_shared_speakers_noises_or_rooms(own, capsys):
    assert prepare_own(own) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[:3]] == list(SETS)
    assert "1 quarantined" in printed[3]
    assert "broken" in (own / "data" / "quarantine.tsv").read_text()
    speakers, used = [], []
    for name in SETS:
        folder = own / "data" / name
        speech = read_sources(folder / "speech.scp")
        for table in ("text", "utt2lang", "utt2spk"):
            assert read_list(folder / table).keys() == speech.keys()
        for fs, path in speech.values():
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.subtype) == (fs, 1, "PCM_16")
            assert info.duration > 2.0
        assert set(read_list(folder / "utt2lang").values()) == {"en"}
        speakers.append(set(read_list(folder / "utt2spk").values()))
        paths = set()
        for table in ("noise", "wind", "rir"):
            paths |= {path for _, path in read_sources(folder / f"{table}.scp").values()}
        assert all(Path(path).is_absolute() and Path(path).is_file() for path in paths)
        used.append(paths)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not speakers[first] & speakers[second]
        assert not used[first] & used[second]
    assert set.union(*speakers) == {"ann", "bob", "cy", "dee", "eve"}


@pytest.mark.slow
def test_second_run_is_one_line_and_other_options_are_prepared_anew(own, capsys):
    assert prepare_own(own) == 0
    before = (own / "data" / "train" / "speech.scp").read_text()
    capsys.readouterr()
    assert prepare_own(own) == 0
    assert "already prepared" in capsys.readouterr().out
    (own / "data" / ".done").unlink()  # as after a kill
    assert prepare_own(own, "--nj", "1") == 0
    assert (own / "data" / "train" / "speech.scp").read_text() == before
    capsys.readouterr()
    assert prepare_own(own, "--num_rirs", "12") == 0
    assert "already prepared" not in capsys.readouterr().out


def test_fewer_than_three_speakers_is_an_error_that_says_so(own, capsys):
    for speaker in ("cy", "dee", "eve"):
        for path in (own / "speech" / speaker).iterdir():
            path.unlink()
    assert prepare_own(own) == 2
    message = capsys.readouterr().err
    assert "2 speaker(s) found (ann, bob)" in message and "at least 3" in message


@pytest.mark.parametrize("missing", ["speech_dir", "noise_dir"])
def test_one_folder_without_the_other_is_refused(missing):
    with pytest.raises(ValueError, match="go together"):
        MiniOptions(**{missing: "somewhere"})


def test_machine_without_apt_is_told_to_use_its_own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    wheel = packages.Package("no-such-wheel", "none", "test", kind="wheel", version="0")
    monkeypatch.setattr(packages, "PACKAGES", (packages.Package("x", "none", "test"), wheel))
    monkeypatch.setattr(packages.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(packages.FetchError, match="--speech_dir DIR --noise_dir DIR"):
        prepare(MiniOptions(), tmp_path / "data", tmp_path / "downloads")


def test_archive_copied_into_downloads_is_used_and_a_damaged_one_is_not_kept(tmp_path):
    wheel = packages.Package("some-clips", "MIT", "test", kind="wheel", version="1")
    archive = tmp_path / "some_clips-1-py3-none-any.whl"
    archive.write_bytes(b"half a download")
    with pytest.raises(packages.FetchError, match="run the same command again"):
        packages.fetch(wheel, tmp_path)
    assert not archive.exists() and not (tmp_path / "packages" / "some-clips").exists()
    with zipfile.ZipFile(archive, "w") as handle:
        handle.writestr("clips/a.txt", "hello")
    root = packages.fetch(wheel, tmp_path)
    assert (root / "clips" / "a.txt").read_text() == "hello"
    assert [p.name for p in root.parent.iterdir()] == ["some-clips"]


def test_words_are_joined_in_order_with_their_texts(tmp_path):
    fs = 16000
    recordings = []
    for number in range(8):
        path = tmp_path / f"w{number}.wav"
        soundfile.write(path, word(1.2, fs, number), fs)
        recordings.append(Recording(path, "ann", "en", f"word {number}"))
    recordings.append(Recording(tmp_path / "missing.wav", "ann", "en", "gone"))
    made, bad = make_utterances("ann", recordings, tmp_path / "out", 600.0, seed=0)
    assert len(bad) == 1 and "unreadable" in bad[0][2]
    assert " ".join(u.text for u in made) == " ".join(f"word {n}" for n in range(8))
    assert all(2.0 <= u.seconds <= 10.0 for u in made)
    again, _ = make_utterances("ann", recordings[::-1], tmp_path / "out", 600.0, seed=0)
    assert [(u.uid, u.text, u.seconds) for u in again] == [(u.uid, u.text, u.seconds) for u in made]
    short, _ = make_utterances("ann", recordings, tmp_path / "less", 4.0, seed=0)
    assert len(short) < len(made)


def test_noisy_clips_and_copies_are_no_targets(tmp_path):
    fs = 16000
    clean = word(2.5, fs, 0)
    noisy = clean + 0.05 * np.random.default_rng(1).standard_normal(clean.size)
    recordings = []
    for name, wav in (("a", clean), ("b", clean), ("c", noisy)):
        soundfile.write(tmp_path / f"{name}.wav", wav, fs)
        recordings.append(Recording(tmp_path / f"{name}.wav", "ann"))
    made, bad = make_utterances("ann", recordings, tmp_path / "out", 600.0, seed=0)
    assert sum(len(u.clips) for u in made) == 1
    assert [row[0] for row in bad] == ["ann/c"] and "noisy" in bad[0][2]


def test_trim_leaves_a_margin_and_snr_sees_the_noise_floor():
    wav = word(1.0, 16000, 0)
    assert 0.7 * 16000 < trim(wav, 16000).size < 1.15 * 16000
    assert snr_db(wav, 16000) == 60.0
    assert snr_db(wav + 0.03 * np.random.default_rng(0).standard_normal(wav.size), 16000) < 25.0


@pytest.mark.parametrize(
    "fs, expected", [(8000, 8000), (11025, 8000), (44100, 44100), (96000, 48000)]
)
def test_rates_outside_the_seven_are_lowered_never_raised(tmp_path, fs, expected):
    soundfile.write(tmp_path / "a.wav", np.stack([word(0.5, fs, 0)] * 2, axis=1), fs)
    wav, got = decode(tmp_path / "a.wav")
    assert got == expected and wav.ndim == 1
    assert wav.size == pytest.approx(1.1 * expected, rel=1e-3)


def test_packages_are_searched_for_voices_and_transcripts(tmp_path):
    files = {
        "asterisk-core-sounds-en-g722/usr/share/asterisk/sounds/en/hello.g722": "",
        "asterisk-core-sounds-en-g722/usr/share/asterisk/sounds/en/beeperr.g722": "",
        "asterisk-core-sounds-en-g722/usr/share/asterisk/sounds/en/dialtone.g722": "",
        "asterisk-core-sounds-en-g722/usr/share/asterisk/sounds/en/silence/1.g722": "",
        "festvox-ru/usr/share/voice/etc/txt.done.data": '( ru_1 "вол+ос, - она" )\n',
        "festvox-ru/usr/share/voice/wav/ru_1.wav": "",
        "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/a/cat_desc_fr.ogg": "",
        "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/a/cat_desc.ogg": "",
        "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/a/cat_desc_da.ogg": "",
        "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/a/cat.ogg": "",
        "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/a/cat.txt": "A cat.\nfr.utf8=Un chat.\n",
        "ktuberling-data/usr/share/ktuberling/sounds/en/egypt_boy.ogg": "",
        "ktuberling-data/usr/share/ktuberling/sounds/gl/ball.ogg": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = find_speech({folder.name: folder for folder in tmp_path.iterdir()})
    assert {(r.speaker, r.lang): r.text for r in found} == {
        ("asterisk-en", "en"): NO_TEXT,
        ("festvox-ru", "ru"): "волос, - она",
        ("tuxpaint-fr", "fr"): "Un chat.",
        ("tuxpaint-en", "en"): "A cat.",
        ("tuxpaint-da", "da"): NO_TEXT,
        ("ktuberling-en", "en"): "egypt boy",
    }
    assert len(found) == 6
    noises = find_noise({folder.name: folder for folder in tmp_path.iterdir()})
    assert [(r.path.name, r.speaker) for r in noises] == [("cat.ogg", "effect")]


def test_prompts_are_not_shared_between_sets():
    def utterance(uid, text):
        return Utterance(uid, "x.flac", 16000, 3.0, uid, "en", text, (text,))

    sets = {
        "train": [utterance("a", "One  apple"), utterance("b", NO_TEXT), utterance("c", "fig")],
        "valid": [utterance("d", "fig"), utterance("e", NO_TEXT)],
        "test": [utterance("f", "one apple"), utterance("g", NO_TEXT)],
    }
    kept = drop_shared_prompts(sets, NO_TEXT)
    assert {name: [u.uid for u in kept[name]] for name in SETS} == {
        "train": ["b"],
        "valid": ["d", "e"],
        "test": ["f", "g"],
    }


def test_speakers_are_assigned_once_and_by_seed():
    speakers = [f"s{n}" for n in range(30)]
    sets = assign_speakers(speakers, seed=3)
    assert sets == assign_speakers(reversed(speakers), seed=3)
    assert sorted(sets) == sorted(speakers)
    assert [list(sets.values()).count(name) for name in SETS] == [24, 3, 3]


def test_file_without_folder_is_its_own_speaker(tmp_path):
    soundfile.write(tmp_path / "ann b.wav", word(1.0, 16000, 0), 16000)
    (recording,) = find_folder_speech(tmp_path, "de")
    assert (recording.speaker, recording.lang, recording.text) == ("ann_b", "de", NO_TEXT)


@pytest.mark.slow
def test_rooms_are_reproducible_and_last_as_long_as_they_should(tmp_path):
    with ProcessPoolExecutor(2) as pool:
        first = make_rooms(tmp_path / "a", 9, 1, pool)
    with ProcessPoolExecutor(1) as pool:
        second = make_rooms(tmp_path / "b", 9, 1, pool)
    for name in SETS:
        assert len({uid.split("-")[0] for uid in first[name]}) == 1
        for uid, path in first[name].items():
            rir, fs = soundfile.read(path)
            np.testing.assert_array_equal(rir, soundfile.read(second[name][uid])[0])
            assert fs == 48000 and 0.05 < rir.size / fs < 4.0 and np.abs(rir).max() == 1.0
    with pytest.raises(ValueError, match="num_rirs=2"):
        make_rooms(tmp_path, 2, 1, pool)


def test_long_noise_is_cut_and_short_noise_is_strung_together(tmp_path):
    fs = 16000
    lengths = {"long": 40.0, "hit1": 1.0, "hit2": 1.0, "hit3": 1.0}
    recordings = []
    for name, seconds in lengths.items():
        wav = generate_stationary(seconds, fs, np.random.default_rng(len(recordings)))
        soundfile.write(tmp_path / f"{name}.wav", 0.2 * wav / np.abs(wav).max(), fs)
        recordings.append(Recording(tmp_path / f"{name}.wav", "noise"))
    pieces, bad = make_pieces("train-noise", recordings, tmp_path / "out", seed=0)
    seconds = sorted(soundfile.info(path).duration for _, path in pieces.values())
    assert not bad and len(pieces) == 4
    assert 3.0 <= seconds[0] < 5.0 and all(12.0 < s <= 15.0 for s in seconds[1:])
    split = split_recordings(recordings)
    assert [len(split[name]["noise"]) for name in SETS] == [2, 1, 1]
