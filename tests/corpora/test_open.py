"""`hybridse prepare --corpus open`: what comes out of repositories, and what never does."""

import dataclasses
import io
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from espnet_hybridse.cli.main import main
from espnet_hybridse.corpora.open import clean_targets
from espnet_hybridse.corpora.open.fetch import fetch_sources
from espnet_hybridse.corpora.open.noise import find_noise, noise_set
from espnet_hybridse.corpora.open.prepare import OpenOptions, prepare
from espnet_hybridse.corpora.open.repositories import Repository, RepositoryError, find_git_dir
from espnet_hybridse.corpora.open.rooms import reverberation_time, shape_response
from espnet_hybridse.corpora.open.speech import find_voices, voice_set
from espnet_hybridse.corpora.open.table import SOURCES
from espnet_hybridse.fileio.audio import BadAudio
from espnet_hybridse.fileio.lists import read_list, read_sources
from espnet_hybridse.simulation.generated import generate_stationary

VOICE_IDS = (100, 102, 103, 101)
"""Two voices that their names' hash puts into train, one for valid, one for test."""

BY_NAME = {source.name: source for source in SOURCES}


def git(*arguments, cwd):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, check=True)
    return done.stdout.decode().strip()


def make_repository(folder, name, files, bare=True):
    """A repository with `files` (path -> bytes); returns its entry of the table, at its commit."""
    work = folder.parent / "work" / name
    for path, content in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(content)
    git("init", "-q", cwd=work)
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "all", cwd=work)
    commit = git("rev-parse", "HEAD", cwd=work)
    target = folder / name.replace("/", "+")
    git("clone", "-q", *(["--bare"] if bare else []), str(work), str(target), cwd=work)
    return dataclasses.replace(BY_NAME[name], commit=commit)


def audio(wav, fs, container="WAV"):
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, fs, format=container, subtype="PCM_16")
    return buffer.getvalue()


def sentence(seed, seconds=2.5, fs=16000):
    """Bursts between silences: (T,)."""
    rng = np.random.default_rng(seed)
    parts = [1e-5 * rng.standard_normal(int(0.3 * fs))]
    for _ in range(3):
        size = int(seconds * fs / 3)
        parts.append(0.3 * rng.standard_normal(size) * np.hanning(size))
    return np.concatenate([*parts, parts[0]]).astype(np.float32)


def kitchen_sound(seed):
    noise = generate_stationary(6.0, 44100, np.random.default_rng(seed))
    return audio(0.1 * noise, 44100)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Four small repositories, two of them of speech, and the table of them."""
    folder = tmp_path_factory.mktemp("built") / "repositories"
    folder.mkdir()
    libri = {
        f"audio_data/librispeech_train-clean-100/{speaker}-1-0000.flac": audio(
            sentence(speaker), 16000, "FLAC"
        )
        for speaker in VOICE_IDS
    }
    libri["audio_data/librispeech_test-other/533/533-1-0000.flac"] = audio(sentence(1), 16000)
    libri["audio_data/README.md"] = b"CC-BY-4.0"
    ocean = {
        f"WAVE/SPEAKER{speaker:04d}/{speaker:05d}0.WAV": audio(sentence(1000 * speaker), 16000)
        for speaker in (1, 2)
    }
    ocean["train/text"] = b"000010\tMARK  IS HERE\n"
    ocean["README.md"] = b"CC-BY-4.0"
    kitchen = {
        f"audio/0-{user}-{take}-3.wav": kitchen_sound(10 * user + ord(take))
        for user in range(100000, 100012)
        for take in "AB"
    }
    kitchen["LICENSE.md"] = b"clips of Freesound"
    rng = np.random.default_rng(0)
    decay = rng.standard_normal(96000) * np.exp(-np.arange(96000) / 48000 * np.log(1000) / 1.9)
    hall = 0.01 * decay
    hall[2000] = 0.9
    hall[:2000] = 0
    rooms = {
        "Resources/ImpulseResponses/large_hall.wav": audio(hall, 48000),
        "Resources/ImpulseResponses/medium_hall.wav": audio(hall[::-1].copy(), 48000),
        "Resources/ImpulseResponses/open_air.wav": audio(hall, 48000),
        "Resources/ImpulseResponses/CREDITS.md": b"CC-BY",
    }
    table = [
        make_repository(folder, "resemble-ai/Resemblyzer", libri),
        make_repository(folder, "jimbozhang/speechocean762", ocean, bare=False),
        make_repository(folder, "marc-moreaux/kitchen20", kitchen),
        make_repository(folder, "QVbDev/quantumVerb", rooms),
    ]
    return folder, table


@pytest.fixture
def repositories(built, tmp_path):
    """A copy of them for each test."""
    folder = tmp_path / "repositories"
    shutil.copytree(built[0], folder)
    return folder, built[1]


def prepared(tmp_path, repositories, **options):
    folder, table = repositories
    settings = {"min_dnsmos": 1.0, "num_rirs": 9, "num_generated": 3, "mini": False, **options}
    lines = prepare(
        OpenOptions(str(folder), **settings), tmp_path / "data", tmp_path / "down", 1, table
    )
    return tmp_path / "data", lines


@pytest.mark.slow
def test_three_sets_share_no_voice_no_source_and_no_room(tmp_path, repositories):
    data, lines = prepared(tmp_path, repositories)
    assert [line.split(":")[0] for line in lines[:3]] == ["train", "valid", "test"]
    seen = []
    for name in ("train", "valid", "test"):
        folder = data / name
        speakers = set(read_list(folder / "utt2spk").values())
        sources = {uid.rsplit("-", 1)[0] for uid in read_sources(folder / "noise.scp")}
        sources -= {"stationary"}
        rooms = {uid.rsplit("-", 1)[0] for uid in read_sources(folder / "rir.scp")}
        assert speakers and sources and rooms
        for uid, (fs, path) in read_sources(folder / "speech.scp").items():
            assert soundfile.info(path).samplerate == fs, uid
        seen.append((speakers, sources, rooms))
    for kind in zip(*seen, strict=True):
        assert not kind[0] & kind[1] and not kind[0] & kind[2] and not kind[1] & kind[2]
    assert (data / "LICENSES" / "resemble-ai+Resemblyzer").read_text() == "CC-BY-4.0"
    assert "jimbozhang/speechocean762" in (data / "LICENSES.md").read_text()


@pytest.mark.slow
def test_recordings_kept_for_tests_are_never_extracted(tmp_path, repositories):
    fetch_sources(repositories[0], tmp_path, repositories[1])
    names = [str(path) for path in (tmp_path / "repositories").rglob("*")]
    assert any("librispeech_train-clean-100" in name for name in names)
    assert not any("test-other" in name or "open_air" in name for name in names)


def test_texts_languages_and_speakers_come_from_the_repository(tmp_path, repositories):
    ocean = fetch_sources(repositories[0], tmp_path, repositories[1])[1]
    found = {recording.path.stem: recording for recording in find_voices(ocean)}
    assert found["000010"].text == "mark is here"
    assert found["000010"].speaker == "speechocean-0001"
    assert found["000020"].text == "<not-available>"


def test_same_content_is_extracted_once(tmp_path, repositories):
    folder, table = repositories
    twin = make_repository(
        folder,
        "scikit-maad/scikit-maad",
        {"data/twin.wav": kitchen_sound(10 * 100000 + ord("A")), "LICENSE": b"BSD"},
    )
    fetched = fetch_sources(folder, tmp_path, [*table, twin])
    assert fetched[-1].duplicates == 1 and not fetched[-1].audio


def test_second_run_extracts_nothing_again(tmp_path, repositories):
    first = fetch_sources(repositories[0], tmp_path, repositories[1])
    times = {path: path.stat().st_mtime_ns for item in first for path in item.audio}
    next(iter(times)).write_bytes(b"cut off")
    again = fetch_sources(repositories[0], tmp_path, repositories[1])
    changed = [p for item in again for p in item.audio if p.stat().st_mtime_ns != times[p]]
    assert changed == [next(iter(times))]


def test_missing_repositories_are_named_with_their_clone_lines(tmp_path, repositories, caplog):
    folder, table = repositories
    fetch_sources(folder, tmp_path, [*table, BY_NAME["remvze/moodist"]])
    assert "git clone --bare https://github.com/remvze/moodist" in caplog.text
    assert "Resemblyzer" not in caplog.text


def test_no_noise_at_all_is_an_error_that_says_how_to_get_some(tmp_path, repositories):
    folder, table = repositories
    speech = [source for source in table if source.kind == "speech"]
    with pytest.raises(RepositoryError, match="no noise.*\n.*git clone --bare .*moodist") as error:
        fetch_sources(folder, tmp_path, [*speech, BY_NAME["remvze/moodist"]])
    assert "Resemblyzer" not in str(error.value)


def test_wrong_options_are_refused_before_anything_is_written(tmp_path, capsys):
    place = ["--out", str(tmp_path / "data"), "--downloads", str(tmp_path / "downloads")]
    assert main(["prepare", "--corpus", "open", *place]) == 2
    assert "--repositories DIR" in capsys.readouterr().err
    missing = ["--repositories", str(tmp_path / "nowhere")]
    assert main(["prepare", "--corpus", "open", *place, *missing]) == 2
    assert "git clone --bare https://github.com/resemble-ai/Resemblyzer" in capsys.readouterr().err
    assert main(["prepare", *place, *missing]) == 2
    assert "goes with --corpus open" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_commit_that_is_not_there_is_named_with_the_fix(tmp_path, repositories):
    git_dir = find_git_dir(repositories[0], "resemble-ai/Resemblyzer")
    with pytest.raises(RepositoryError, match="fetch origin 0123"):
        Repository(git_dir, "0123456789" * 4)


def test_a_removed_object_is_counted_and_the_rest_is_read(tmp_path, repositories):
    folder, table = repositories
    git_dir = find_git_dir(folder, "QVbDev/quantumVerb")
    source = table[3]
    blob = Repository(git_dir, source.commit).files(("*/large_hall.wav",))[0]
    loose = git_dir / "objects" / blob.sha[:2] / blob.sha[2:]
    loose.unlink()
    fetched = fetch_sources(folder, tmp_path, table)[3]
    assert fetched.missing == 1
    assert [path.name for path in fetched.audio] == ["medium_hall.wav"]


@pytest.mark.parametrize("layout", ["Resemblyzer", "resemble-ai+Resemblyzer/repo", "a/b.git"])
def test_clones_are_found_by_their_usual_names(tmp_path, layout):
    name = "a/b" if layout == "a/b.git" else "resemble-ai/Resemblyzer"
    target = tmp_path / layout
    target.parent.mkdir(parents=True, exist_ok=True)
    git("init", "-q", "--bare", str(target), cwd=tmp_path)
    assert find_git_dir(tmp_path, name) == target


@pytest.mark.slow
def test_poor_targets_are_left_out_and_the_list_says_why(tmp_path, repositories):
    with pytest.raises(ValueError, match="no usable speech for train"):
        prepared(tmp_path, repositories, min_dnsmos=4.9)
    rows = (tmp_path / "data" / "clean_targets.tsv").read_text().splitlines()
    assert rows[0].split("\t")[:3] == ["uid", "kept", "dnsmos"]
    assert all("at least 4.9 wanted" in row for row in rows[1:])


def test_clipped_speech_is_told_from_loud_speech():
    tone = 0.9 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000)
    assert clean_targets.clipped_runs(tone) == 0
    assert clean_targets.clipped_runs(np.clip(2 * tone, -0.9, 0.9)) == 400


def test_every_voice_and_source_stays_in_its_set():
    assert voice_set("rhasspy/dataset-voice-nathalie", "nathalie-nl") == "test"
    assert voice_set("Picovoice/wake-word-benchmark", "picovoice-words") == "train"
    sets = [voice_set("resemble-ai/Resemblyzer", f"librispeech-{i}") for i in range(1000)]
    assert 20 < sets.count("valid") < 90 and 25 < sets.count("test") < 110
    assert noise_set("scene-cafe") == "test" and noise_set("keyboard-zoom") == "train"


def test_takes_of_one_recording_are_one_source(tmp_path, repositories):
    kitchen = fetch_sources(repositories[0], tmp_path, repositories[1])[2]
    sources = [file.source for file in find_noise(kitchen)]
    assert len(sources) == 24 and len(set(sources)) == 12


def test_halls_are_damped_and_begin_with_the_direct_path():
    rng = np.random.default_rng(0)
    fs = 16000
    time = np.arange(3 * fs) / fs
    hall = 0.05 * rng.standard_normal(3 * fs) * np.exp(-np.log(1000) * time / 2.5)
    hall = np.concatenate([np.zeros(700), [1.0], hall])
    assert reverberation_time(hall[700:], fs) == pytest.approx(2.5, abs=0.2)
    shaped = shape_response(hall, fs)
    assert np.abs(shaped).argmax() == 16 and shaped[16] == 1
    assert reverberation_time(shaped[16:].astype(float), fs) == pytest.approx(1.2, abs=0.15)
    with pytest.raises(BadAudio, match="direct path"):
        shape_response(np.concatenate([[0.6], np.zeros(700), hall[700:]]), fs)
