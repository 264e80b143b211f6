"""What is written beside samples: loudness, peaks, noise, metadata, the record, live streams."""

import io
import json
import struct

import numpy as np
import pytest
import soundfile
from helpers.odd_files import encoded, noise

from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.inference.files.jobs import Job, is_done, plan_jobs, with_noise
from espnet_hybridse.inference.files.live import LiveInput, live_format, send
from espnet_hybridse.inference.files.loudness import Loudness
from espnet_hybridse.inference.files.one_file import enhance_file, enhance_together
from espnet_hybridse.inference.files.output import Output
from espnet_hybridse.inference.files.record import read_record, table
from espnet_hybridse.inference.options import Options


class Times:
    """Stands for a model: multiplies the samples."""

    options = Options(gate="off")

    def __init__(self, factor):
        self.factor = np.float32(factor)

    def stream(self, blocks, fs, share=None, live=True):
        return (block * self.factor for block in blocks)

    def many(self, wavs, fs, shares=None):
        return [wav * self.factor for wav in wavs]


def sine(seconds, fs, level_db, hz=997.0):
    wave = 10 ** (level_db / 20) * np.sin(2 * np.pi * hz * np.arange(int(seconds * fs)) / fs)
    return wave.astype(np.float32)


def loudness_of(wav, fs):
    meter = Loudness(fs, len(wav))
    for start in range(0, wav.shape[1], 7777):
        meter.add(wav[:, start : start + 7777])
    return meter.value()


@pytest.mark.parametrize("fs", [8000, 16000, 22050, 44100, 48000])
def test_loudness_is_that_of_the_standard(fs):
    # ITU-R BS.1770-4: a sine of 997 Hz at 0 dBFS in one channel has -3.01 LKFS.
    assert loudness_of(sine(3, fs, 0)[None], fs) == pytest.approx(-3.01, abs=0.05)
    # EBU Tech 3341, cases 1, 2 and 3: stereo, and quiet parts that the gate leaves out.
    for level in (-23.0, -33.0):
        assert loudness_of(np.stack([sine(5, fs, level)] * 2), fs) == pytest.approx(level, abs=0.1)
    parts = [sine(s, fs, level) for s, level in ((2, -36), (20, -23), (2, -36))]
    assert loudness_of(np.stack([np.concatenate(parts)] * 2), fs) == pytest.approx(-23, abs=0.1)
    assert loudness_of(np.zeros((1, fs)), fs) is loudness_of(sine(0.3, fs, 0)[None], fs) is None


def test_loudness_is_that_of_the_usual_package():
    pyloudnorm = pytest.importorskip("pyloudnorm")
    wav = np.stack([noise(150000), 0.3 * noise(150000, 1)])
    wav[:, 60000:90000] *= 0.01
    theirs = pyloudnorm.Meter(44100, filter_class="DeMan").integrated_loudness(wav.T)
    assert loudness_of(wav, 44100) == pytest.approx(theirs, abs=0.05)


def enhanced(tmp_path, wav, fs, factor=0.5, noise_path=None, suffix=".wav", **output):
    source, target = tmp_path / f"in{suffix}", tmp_path / "out" / f"out{suffix}"
    soundfile.write(source, wav, fs, subtype=output.pop("source_subtype", "PCM_16"))
    result = enhance_file(Times(factor), Job("a", source, target, noise_path), Output(**output))
    assert result.reason is None, result.reason
    return soundfile.read(target, dtype="float32")[0], result.as_dict()


def test_a_result_is_brought_to_a_loudness(tmp_path):
    wav = sine(3, 16000, -20)
    done, row = enhanced(tmp_path, wav, 16000, loudness=-30.0)
    assert loudness_of(done[None], 16000) == pytest.approx(-30, abs=0.05)
    assert row["lufs"] == -30.0 and row["gain_db"] == pytest.approx(-7, abs=0.1)
    done, row = enhanced(tmp_path, wav, 16000, factor=0.1, loudness="keep")
    assert loudness_of(done[None], 16000) == pytest.approx(loudness_of(wav[None], 16000), abs=0.05)
    _, row = enhanced(tmp_path, wav[:4000], 16000, loudness=-30.0)
    assert "shorter than 0.4 s" in row["warnings"][0] and "lufs" not in row
    for bad in ({"loudness": 3.0}, {"loudness": "loud"}, {"peaks": "cut"}):
        with pytest.raises(ValueError, match=f"^{next(iter(bad))}="):
            Output(**bad)


@pytest.mark.parametrize("suffix, subtype", [
    (".wav", "PCM_16"), (".wav", "PCM_24"), (".wav", "PCM_U8"), (".wav", "FLOAT"),
    (".flac", "PCM_16"), (".flac", "PCM_24"), (".aiff", "PCM_S8"), (".wav", "ULAW"),
])  # fmt: skip
def test_what_is_left_alone_keeps_every_bit(tmp_path, suffix, subtype):
    wav = np.random.default_rng(0).uniform(-1, 1, 5000)
    enhanced(tmp_path, wav, 16000, factor=1, suffix=suffix, source_subtype=subtype)
    before, after = (
        soundfile.read(path)[0]
        for path in (f"{tmp_path}/in{suffix}", f"{tmp_path}/out/out{suffix}")
    )
    np.testing.assert_array_equal(before, after)


def test_peaks_are_counted_or_the_file_is_turned_down(tmp_path):
    wav = sine(1, 16000, -6)
    done, row = enhanced(tmp_path, wav, 16000, factor=4)
    assert row["clipped_samples"] > 5000 and "were clipped" in row["warnings"][0]
    assert np.abs(done).max() >= 0.99
    done, row = enhanced(tmp_path, wav, 16000, factor=4, peaks="scale")
    assert row["clipped_samples"] == 0 and "turned down by 6.0 dB" in row["warnings"][0]
    np.testing.assert_allclose(done, wav / np.abs(wav).max(), atol=2e-3)
    done, row = enhanced(tmp_path, wav, 16000, factor=4, source_subtype="FLOAT", peaks="scale")
    assert row["warnings"] == [] and row["subtype"] == "FLOAT"
    np.testing.assert_allclose(done, 4 * wav, atol=1e-6)


def test_what_was_taken_away_is_written_beside(tmp_path):
    for samples in (3000, 700000):  # one block, and several
        wav, path = noise(samples), tmp_path / "noise" / "a.wav"
        done, _ = enhanced(tmp_path, wav, 16000, factor=0.25, noise_path=path)
        taken = soundfile.read(path, dtype="float32")[0]
        np.testing.assert_allclose(taken + done, wav, atol=2e-4)
    jobs = [Job(str(n), tmp_path / "in.wav", tmp_path / f"{n}.wav", path) for n in range(2)]
    infos = {job: read_info(job.source) for job in jobs}
    results = enhance_together(Times(0.25), jobs, infos)
    assert [result.reason for result in results] == [None, None]
    np.testing.assert_allclose(soundfile.read(path, dtype="float32")[0], 0.75 * wav, atol=2e-4)


def test_where_what_was_taken_away_goes(tmp_path):
    for name in ("a.wav", "deep/b.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, noise(800), 16000)
    out, away = tmp_path / "out", tmp_path / "away"
    jobs = with_noise(plan_jobs(tmp_path / "in", out), out, away)
    assert [job.noise for job in jobs] == [away / "a.wav", away / "deep" / "b.wav"]
    jobs[0].target.parent.mkdir()
    jobs[0].target.write_bytes(b"there")
    assert not is_done(jobs[0])
    single = with_noise(
        plan_jobs(tmp_path / "in/a.wav", tmp_path / "b.wav"), tmp_path / "b.wav", away
    )
    assert single[0].noise == away / "b.wav"
    single = with_noise(plan_jobs(tmp_path / "in/a.wav", tmp_path / "b.wav"), tmp_path / "b.wav",
                        tmp_path / "n.wav")  # fmt: skip
    assert single[0].noise == tmp_path / "n.wav"
    with pytest.raises(ValueError, match="to one place"):
        with_noise(jobs, out, out)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_result_that_is_no_number_is_not_written(tmp_path, bad):
    soundfile.write(tmp_path / "in.wav", noise(4000), 16000)
    result = enhance_file(Times(bad), Job("a", tmp_path / "in.wav", tmp_path / "out.wav"))
    assert "the model gave NaN or Inf" in result.reason
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_block_coded_samples_become_plain_ones(tmp_path, subtype):
    fs = 8000 if subtype == "GSM610" else 16000
    done, row = enhanced(tmp_path, noise(5001), fs, source_subtype=subtype)
    assert row["subtype"] == "PCM_16" and subtype in row["warnings"][0]
    assert done.size == read_info(tmp_path / "in.wav").frames


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def add_chunks(path, *chunks):
    data = bytearray(path.read_bytes()) + b"".join(chunks)
    data[4:8] = struct.pack("<I", len(data) - 8)
    path.write_bytes(data)


def test_time_code_cue_points_and_channels_of_a_wav_are_kept(tmp_path):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, noise(4001, channels=2), 16000, format="WAVEX")
    data = bytearray(source.read_bytes())
    data[40:44] = struct.pack("<I", 0x30)  # back left and right
    source.write_bytes(data)
    chunks = [chunk(b"bext", b"origin" + bytes(597)), chunk(b"cue ", bytes(28)),
              chunk(b"LIST", b"INFO" + chunk(b"INAM", b"title"))]  # fmt: skip
    add_chunks(source, *chunks)
    result = enhance_file(Times(0.5), Job("a", source, target))
    written = target.read_bytes()
    assert written[40:44] == struct.pack("<I", 0x30)
    assert all(part in written for part in chunks)
    assert struct.unpack("<I", written[4:8])[0] == len(written) - 8
    info = read_info(target)
    assert (info.frames, info.warning, result.warnings) == (4001, None, ())
    assert soundfile.SoundFile(target).copy_metadata()["title"] == "title"
    # Where there is no place for them, it is said.
    lost = enhance_file(Times(0.5), Job("a", source, tmp_path / "out.flac")).warnings
    assert [text.partition(":")[0] for text in lost] == ["time code", "cue points"]
    assert "flac has no place" in lost[0]


def test_tags_are_kept_where_there_is_a_place_for_them(tmp_path):
    mutagen = pytest.importorskip("mutagen")
    soundfile.write(tmp_path / "in.flac", noise(4000), 16000)
    encoded(tmp_path / "in.m4a", "aac", noise(16000), 16000, "fltp")
    encoded(tmp_path / "in.mp3", "libmp3lame", noise(44100), 44100, "s16p")
    for name in ("in.flac", "in.m4a", "in.mp3"):
        file = mutagen.File(tmp_path / name, easy=True)
        if file.tags is None:
            file.add_tags()
        file.tags["title"], file.tags["artist"] = ["A title – é"], ["Somebody"]
        if name == "in.flac":
            file.tags["replaygain_track_gain"] = ["-3 dB"]
        file.save()
    pairs = (("in.flac", "a.flac"), ("in.m4a", "b.flac"), ("in.mp3", "c.mp3"), ("in.mp3", "d.ogg"))
    for source, target in pairs:
        result = enhance_file(Times(0.5), Job("a", tmp_path / source, tmp_path / target))
        assert result.reason is None
        tags = mutagen.File(tmp_path / target, easy=True).tags
        assert tags["title"] == ["A title – é"] and tags["artist"] == ["Somebody"]
        assert "replaygain_track_gain" not in tags
        assert read_info(tmp_path / target).frames > 0


def test_the_record_is_read_back_as_a_table(tmp_path):
    path = tmp_path / "record.jsonl"
    _, row = enhanced(tmp_path, sine(1, 16000, -6), 16000, factor=4)
    bad = {"id": "b", "source": "b.wav", "status": "quarantined", "reason": "unreadable"}
    path.write_text("".join(json.dumps(one) + "\n" for one in (row, bad, row)) + '{"id": "c')
    rows = read_record(path)
    assert rows.keys() == {"a", "b"}
    text = table(rows.values()).markdown()
    assert "clipped samples" in text and "| b |" in text and "unreadable" in text
    assert "without speech" in text and "+10.0" not in text.splitlines()[0]


class Pipe:
    """Standard input as it comes, a little at a time."""

    def __init__(self, data):
        self.data, self.given = data, 0

    def read1(self, size=-1):
        part = self.data[self.given : self.given + min(size, 1000)]
        self.given += len(part)
        return part


class Sink:
    """Standard output, which notes how much had come in when sound first went out."""

    def __init__(self, source):
        self.source, self.data, self.first = source, bytearray(), None

    def write(self, data):
        self.data += data
        if self.first is None and len(self.data) > 500:
            self.first = self.source.given

    def flush(self):
        pass


LIVE = [
    ("WAV", "PCM_16", True),
    ("WAV", "PCM_24", True),
    ("WAV", "PCM_U8", True),
    ("WAVEX", "FLOAT", True),
    ("AU", "PCM_16", False),
    ("FLAC", "PCM_16", True),
    ("OGG", "VORBIS", False),
]


@pytest.mark.parametrize("container, subtype, known", LIVE)
@pytest.mark.parametrize("channels", [1, 2])
def test_standard_streams_flow(container, subtype, known, channels):
    wav, whole = noise(48000, channels=channels), io.BytesIO()
    soundfile.write(whole, wav, 16000, format=container, subtype=subtype)
    source = Pipe(whole.getvalue())
    sound, sink = LiveInput(source), Sink(source)
    form = live_format(sound.info, None)
    assert form == (container.replace("WAVEX", "WAV"), subtype)
    assert send(sink, sound.blocks(), sound.info, *form) == 48000
    done, fs = soundfile.read(io.BytesIO(bytes(sink.data)), dtype="float32")
    assert (fs, done.shape) == (16000, wav.shape)
    if subtype != "VORBIS":
        np.testing.assert_allclose(done, wav, atol=0.01 if subtype == "PCM_U8" else 1e-4)
    # FLAC is heard by the coder's frames, ten of them; others at once.
    assert sink.first < len(source.data) / (1 if container == "FLAC" else 2)
    if known:
        assert soundfile.info(io.BytesIO(bytes(sink.data))).frames == 48000


def test_a_wav_out_of_a_pipe_into_a_pipe():
    whole = io.BytesIO()
    soundfile.write(whole, noise(8000), 16000, format="WAV")
    data = bytearray(whole.getvalue())
    for size in (0, 0xFFFFFFFF, 0x7FFFF000):
        data[40:44] = struct.pack("<I", size)
        source = Pipe(bytes(data))
        sound, sink = LiveInput(source), Sink(source)
        assert not sound.info.exact
        assert send(sink, sound.blocks(), sound.info, "WAV", "PCM_16") == 8000
        assert soundfile.info(io.BytesIO(bytes(sink.data))).frames == 8000
    for bad in (b"", b"text" * 999, bytes(data[:30])):
        with pytest.raises(BadAudio):
            list(LiveInput(Pipe(bad)).blocks())
