"""The one reader: whatever is audio is read, and what a header says wrongly is said."""

import os

import numpy as np
import pytest
import soundfile
from helpers.odd_files import archived, died, encoded, noise

from espnet_hybridse.fileio.audio import read_audio
from espnet_hybridse.fileio.decode import open_audio, read_info, read_samples
from espnet_hybridse.fileio.formats import BadAudio, shown

CODED = [
    # ending, codec, rate, FFmpeg's sample format, most samples that a coder adds or takes away
    ("m4a", "aac", 44100, "fltp", 0),
    ("mp4", "aac", 16000, "fltp", 0),
    ("mov", "pcm_s16le", 48000, "s16", 0),
    ("webm", "libopus", 48000, "s16", 960),
    ("mkv", "flac", 22050, "s16", 0),
    ("wma", "wmav2", 44100, "fltp", 4096),
    ("ac3", "ac3", 48000, "fltp", 1536),
    ("aac", "aac", 32000, "fltp", 2048),
    ("mp2", "mp2", 48000, "s16", 2400),
]


@pytest.mark.parametrize("suffix, codec, fs, fmt, more", CODED)
def test_what_libsndfile_does_not_know_is_decoded(tmp_path, suffix, codec, fs, fmt, more):
    path, wav = tmp_path / f"a.{suffix}", noise(2 * fs)
    wav = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * fs) / fs).astype(np.float32)
    count = encoded(path, codec, wav, fs, fmt)
    samples, rate = read_samples(path)
    assert rate == fs and samples.shape[0] == 1 and samples.dtype == np.float32
    assert abs(samples.shape[1] - count) <= more
    middle = samples[0, fs // 2 : fs]
    assert 0.3 < np.sqrt(np.mean(middle**2)) < 0.4  # of a sine of 0.5
    assert read_info(path, exact=True).frames == samples.shape[1]
    assert abs(read_info(path).seconds - samples.shape[1] / fs) < 0.2


def test_a_stretch_of_a_container_is_that_of_the_whole(tmp_path):
    encoded(tmp_path / "a.m4a", "aac", noise(88200), 44100, "fltp")
    whole, _ = read_samples(tmp_path / "a.m4a")
    with open_audio(tmp_path / "a.m4a") as file:
        for start in (50000, 10, 70000):
            file.seek(start)
            np.testing.assert_array_equal(file.read(3000), whole[:, start : start + 3000])


def test_the_sound_of_a_video_and_a_video_without(tmp_path):
    import av

    for name, with_sound in (("loud.mp4", True), ("mute.mp4", False)):
        with av.open(str(tmp_path / name), "w") as container:
            video = container.add_stream("mpeg4", rate=10)
            video.width = video.height = 64
            sound = container.add_stream("aac", rate=16000, layout="mono") if with_sound else None
            for _ in range(10):
                picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
            for number in range(16 if sound else 0):
                part = noise(1024, number)[None]
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16000, 1024 * number
                container.mux(sound.encode(frame))
            if sound:
                container.mux(sound.encode(None))
    assert read_samples(tmp_path / "loud.mp4")[0].shape == (1, 16384)
    with pytest.raises(BadAudio, match="no sound in it"):
        read_info(tmp_path / "mute.mp4")


@pytest.mark.parametrize("comment", [None, "x" * 200000])
def test_the_header_of_an_mp3_is_a_hint(tmp_path, comment):
    path = tmp_path / "a.mp3"
    count = encoded(
        path, "libmp3lame", noise(220500), 44100, "s16p", write_xing="0", comment=comment
    )
    wav, fs = read_audio(path)
    assert fs == 44100 and abs(wav.size - count) < 4 * 1152
    with open_audio(path) as file:
        assert sum(block.shape[1] for block in file.blocks()) == wav.size == file.info.frames
        assert file.warnings == []
    assert read_info(path, exact=True).frames == wav.size


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "AIFF", "AU"])
@pytest.mark.parametrize("promised", [0, 8000])
def test_a_recorder_that_died_loses_nothing(tmp_path, container, promised):
    wav = noise(48000)
    path = died(tmp_path / "a.wav", container, promised, wav)
    with open_audio(path) as file:
        samples = np.concatenate(list(file.blocks()), axis=1)
        assert file.info.frames == 48000
        [warning] = file.warnings
    assert "wrong header" in warning and f"{promised / 16000:.2f} s" in warning
    np.testing.assert_allclose(samples[0], wav, atol=1e-4)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU"])
def test_a_whole_file_with_something_behind_its_samples_is_left_alone(tmp_path, container):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(4001), 16000, format=container)
    chunk = b"LIST" + (4000).to_bytes(4, "big" if container == "AIFF" else "little") + bytes(4000)
    data = path.read_bytes()
    text = b'{"take": 3, "mic": "left"}\r\n' * 100
    for tail in (bytes(5000), b"ID3\3\0" + b"tag" * 1000, text, chunk):
        path.write_bytes(data + b"\0" * (len(data) % 2 if tail is chunk else 0) + tail)
        with open_audio(path) as file:
            assert (file.info.frames, file.warnings) == (4001, [])


@pytest.mark.parametrize("extended", [True, False])
def test_files_in_archives(tmp_path, extended):
    wavs = {f"u{number}": noise(4000 + number, number) for number in range(3)}
    files = {}
    for uid, wav in wavs.items():
        soundfile.write(tmp_path / "one.wav", wav, 16000, subtype="FLOAT")
        files[uid] = (tmp_path / "one.wav").read_bytes()
    for uid, place in archived(tmp_path / "a.ark", files, extended).items():
        np.testing.assert_array_equal(read_audio(place)[0], wavs[uid])
        assert read_info(place).frames == wavs[uid].size
    with pytest.raises(BadAudio, match="no audio at this place"):
        read_audio(f"{tmp_path}/a.ark:1")
    with pytest.raises(BadAudio, match="no such file"):
        read_audio(f"{tmp_path}/b.ark:1")


def test_sphere_and_other_endings(tmp_path):
    wav = noise(4000)
    for container, suffix in (("NIST", "sph"), ("OGG", "oga"), ("AIFF", "aifc"), ("CAF", "caf")):
        soundfile.write(tmp_path / "a", wav, 16000, format=container)
        path = (tmp_path / "a").rename(tmp_path / f"a.{suffix}")
        assert read_info(path).frames == 4000


def test_names_need_not_be_text(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    soundfile.write(tmp_path / "a.wav", noise(4000), 16000)
    os.rename(tmp_path / "a.wav", path)
    assert read_audio(path)[0].size == 4000
    assert shown(path).endswith("caf\\xe9.wav") and shown("café.wav") == "café.wav"


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.flac", "a.webm", "a.aac", "a.txt"])
def test_what_is_no_audio_is_not_taken_for_noise(tmp_path, name):
    path = tmp_path / name
    rng = np.random.default_rng(0)
    for data in (b"", b"text\n" * 999, bytes(9999), b"\x80" + rng.bytes(20000)):
        path.write_bytes(data)
        with pytest.raises(BadAudio, match="^unreadable"):
            read_samples(path)
    with pytest.raises(BadAudio, match="a folder, pipe or device"):
        read_samples(tmp_path)
    with pytest.raises(BadAudio, match="no such file"):
        read_samples(tmp_path / "none.wav")
    with pytest.raises(BadAudio, match="commands in lists are not run"):
        read_samples(f"cat {path} |")
