"""What can go wrong around an enhancement: disks, memory, files and archives that mean harm."""

import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import time
import zipfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from espnet_hybridse import Enhancer
from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.decode import read_info, read_samples
from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.inference.files import many_files as batch
from espnet_hybridse.inference.files.jobs import Job, plan_jobs
from espnet_hybridse.inference.files.one_file import Result
from espnet_hybridse.model.unpack import UnsafeArchive

KINDS = [("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")]
KINDS += [("opus", "OPUS"), ("aiff", "PCM_24"), ("wav", "FLOAT"), ("w64", "PCM_16")]


def noise(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=samples).astype(np.float32)


def audio(path, suffix, subtype):
    container = {"opus": "OGG", "mp3": "MP3"}.get(suffix, suffix.upper())
    soundfile.write(path, noise(3200), 16000, subtype=subtype, format=container)
    return path


@pytest.mark.parametrize("kind", ["wav", "aiff", "w64", "rf64", "au", "flac"])
def test_a_file_that_was_cut_short_is_named(tmp_path, kind):
    audio(tmp_path / f"a.{kind}", kind, dict(KINDS[2:4]).get(kind, "PCM_16"))
    data = (tmp_path / f"a.{kind}").read_bytes()
    (tmp_path / f"a.{kind}").write_bytes(data[: len(data) * 3 // 4])
    # FLAC's decoder finds it out by itself.
    problem = "unreadable after" if kind == "flac" else "s of the 0.20 s its header promises"
    with pytest.raises(BadAudio, match=problem):
        read_samples(tmp_path / f"a.{kind}")


def test_headers_of_files_out_of_a_pipe_are_no_promise(tmp_path):
    path = audio(tmp_path / "a.wav", "wav", "PCM_16")
    data = bytearray(path.read_bytes())
    for size in (0xFFFFFFFF, 0x7FFFF000, 0x80000000, 6400 + 44):  # ffmpeg, sox, arecord, others
        data[40:44] = struct.pack("<I", size)
        path.write_bytes(data)
        assert read_info(path).frames == 3200
    path = audio(tmp_path / "a.flac", "flac", "PCM_16")
    data, (whole, _) = bytearray(path.read_bytes()), soundfile.read(path, dtype="float32")
    data[21:26] = data[21] & 0xF0, 0, 0, 0, 0  # the number of samples in STREAMINFO
    path.write_bytes(data)
    assert read_info(path).frames == 3200
    np.testing.assert_array_equal(read_samples(path)[0][0], whole)


def test_a_full_disk_stops_the_run_and_leaves_nothing_half_written(models, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    soundfile.write(source / "a.wav", noise(4000), 16000)
    soundfile.write(source / "b.wav", noise(40000), 16000)
    run = ["enhance", str(source), str(out), "--model", str(models / "disc")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        assert main(run) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert "b.wav" in (text := capsys.readouterr().err) and "GB free" in text
    assert sorted(p.name for p in out.glob("*.wav")) == ["a.wav"]
    assert not list(out.glob(".tmp-*"))
    assert main(run) == 0
    assert "1 enhanced" in (text := capsys.readouterr().out) and "1 were there" in text


def test_an_output_that_cannot_be_written_is_named(models, tmp_path, capsys):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(4000), 16000)
    run = ["enhance", str(path), str(path / "below" / "b.wav"), "--model", str(models / "disc")]
    assert main(run) == 2
    assert "below/b.wav" in capsys.readouterr().err


def test_a_name_that_no_file_can_have_costs_that_file_alone(models, tmp_path, capsys):
    source = audio(tmp_path / "a.wav", "wav", "PCM_16")
    uids = ["fine", "u" * 300, "folder"]
    (tmp_path / "in.scp").write_text("".join(f"{uid} {source}\n" for uid in uids))
    out = tmp_path / "out"
    (out / "wav/folder.flac").mkdir(parents=True)
    command = ["enhance", str(tmp_path / "in.scp"), str(out), "--model", str(models / "disc")]
    for known in ("1 enhanced", "1 were there already"):
        assert main(command) == 0
        assert known in capsys.readouterr().out
        lines = (out / "quarantine.tsv").read_text().splitlines()
        reasons = {line.split("\t")[0][:6]: line for line in lines}
        assert "File name too long" in reasons["uuuuuu"] and "Is a directory" in reasons["folder"]


def test_less_memory_gives_the_same_with_smaller_batches(models):
    wav = noise(20000)
    enhancer = Enhancer.from_pretrained(models / "disc", batch=8, segment_s=0.3, overlap_s=0.1)
    expected = enhancer(wav, 16000)
    forward = enhancer.network._forward

    def with_little_memory(rows, fs):
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(rows, fs)

    enhancer.network._forward = with_little_memory
    np.testing.assert_allclose(enhancer(wav, 16000), expected, atol=1e-6)
    assert enhancer.batch <= 2

    def without_any(rows, fs):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    enhancer.network._forward = without_any
    with pytest.raises(MemoryError, match="take a shorter --segment"):
        enhancer(wav, 16000)


def test_a_lost_device_is_left_for_the_cpu(models):
    enhancer = Enhancer.from_pretrained(models / "hybrid")
    expected = enhancer(noise(4000), 16000)
    network, forward = enhancer.network, enhancer.network._forward
    network.device = torch.device("meta")  # stands for a GPU

    def lost(rows, fs):
        if network.device.type != "cpu":
            raise RuntimeError("CUDA error: unspecified launch failure")
        return forward(rows, fs)

    network._forward = lost
    np.testing.assert_allclose(enhancer(noise(4000), 16000), expected, atol=1e-6)
    assert enhancer.device.type == "cpu"


def packed(models, path, **replaced):
    """The disc model as a zip, with members replaced or added."""
    files = {name: (models / "disc" / name).read_bytes() for name in ("config.yaml", "model.pth")}
    files.update(replaced)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # an empty name, too
    return path


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_archives_that_mean_harm_do_none(models, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    good = packed(models, tmp_path / "good.zip")
    wav = noise(4000)
    out = Enhancer.from_pretrained(good)(wav, 16000)
    np.testing.assert_array_equal(out, Enhancer.from_pretrained(models / "disc")(wav, 16000))
    before = sorted(tmp_path.rglob("*"))

    outside = ("../evil.yaml", "/evil.yaml", "a/../../evil.yaml", "c:evil.yaml", "a\\b.yaml")
    for name in (*outside, "", ".", "evil.py"):
        bad = packed(models, tmp_path / "bad.zip", **{name: b"evil"})
        with pytest.raises(UnsafeArchive, match="nothing was unpacked"):
            Enhancer.from_pretrained(bad)
    link = zipfile.ZipInfo("link.yaml")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(packed(models, tmp_path / "bad.zip"), "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeArchive, match="is a link"):
        Enhancer.from_pretrained(tmp_path / "bad.zip")
    with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.yaml", bytes(999))
    data = bytearray((tmp_path / "bad.zip").read_bytes())
    data[30 + len("config.yaml")] |= 7  # a kind of block that deflate does not have
    (tmp_path / "bad.zip").write_bytes(data)
    with pytest.raises(UnsafeArchive, match="not a readable zip"):
        Enhancer.from_pretrained(tmp_path / "bad.zip")
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 no zip")
    with pytest.raises(UnsafeArchive, match="not a readable zip"):
        Enhancer.from_pretrained(tmp_path / "bad.zip")
    (tmp_path / "bad.zip").unlink()
    assert sorted(tmp_path.rglob("*")) == before

    harm = pickle.dumps(Harm(tmp_path / "executed"))
    with pytest.raises(ValueError, match="nothing in it was executed"):
        Enhancer.from_pretrained(packed(models, tmp_path / "p.zip", **{"model.pth": harm}))
    tag = b"!!python/object/apply:os.mkdir ['%s']" % str(tmp_path / "executed").encode()
    with pytest.raises(ValueError, match="not a plain YAML file"):
        Enhancer.from_pretrained(packed(models, tmp_path / "y.zip", **{"config.yaml": tag}))
    meta = b"files: {model_file: ../../x.pth}\nyaml_files: {train_config: /etc/passwd}\n"
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("meta.yaml", meta)
    with pytest.raises(UnsafeArchive, match="which is not inside"):
        Enhancer.from_pretrained(tmp_path / "m.zip")
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_killed_run_resumes_with_nothing_lost_or_half_written(models, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(40):
        soundfile.write(source / f"{number:02}.wav", noise(32000, number), 16000)
    run = ["enhance", str(source), str(out), "--model", str(models / "disc")]
    process = subprocess.Popen([sys.executable, "-m", "espnet_hybridse.cli.main", *run])
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and not list(out.glob("[0-9]*.wav")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.read_bytes() for path in out.glob("[0-9]*.wav")}
    assert 0 < len(done) < 40, "the kill came too early or too late to test anything"
    (out / ".tmp-of-the-killed.wav").write_bytes(b"half")
    assert main([*run, "--resume"]) == 0
    assert f"{len(done)} were there" in (text := capsys.readouterr().out)
    assert f"{40 - len(done)} enhanced" in text
    for number in range(40):
        assert soundfile.info(out / f"{number:02}.wav").frames == 32000
    assert all(path.read_bytes() == data for path, data in done.items())
    assert not list(out.glob(".tmp-*"))


def test_two_runs_do_not_write_to_one_folder(models, tmp_path, capsys):
    import fcntl

    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    soundfile.write(source / "a.wav", noise(4000), 16000)
    with open(out / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        run = ["enhance", str(source), str(out), "--model", str(models / "disc")]
        assert main(run) == 2
    assert "another run writes there" in capsys.readouterr().err


def test_a_file_that_kills_its_worker_is_found(monkeypatch):
    jobs = [Job(f"{n:02}", Path(f"{n}.wav"), Path(f"out/{n}.wav")) for n in range(30)]

    def pooled(part, nj, start):
        """Processes that die of files 3 and 17, with up to `nj` others at work."""
        for first in range(0, len(part), nj):
            at_work = part[first : first + nj]
            if {"03", "17"} & {job.uid for job in at_work}:
                raise BrokenProcessPool("died")
            yield from (Result(job, 1.0, 8000, 1) for job in at_work)

    monkeypatch.setattr(batch, "_pooled", pooled)
    results = list(batch._in_workers(jobs, 4, ()))
    assert sorted(result.job.uid for result in results) == [job.uid for job in jobs]
    assert {result.job.uid for result in results if result.reason} == {"03", "17"}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_named(tmp_path, make):
    make(tmp_path / "a.wav")
    with pytest.raises(BadAudio, match="unreadable: a folder, pipe or device"):
        read_info(tmp_path / "a.wav")


def test_a_broken_link_is_named_not_passed_over(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.wav").symlink_to("gone.wav")
    [job] = plan_jobs(tmp_path / "in", tmp_path / "out")
    with pytest.raises(BadAudio, match="no such file"):
        read_info(job.source)
