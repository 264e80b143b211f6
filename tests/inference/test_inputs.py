"""Inputs as the world has them: links, odd names, archives, silence, containers, odd disks."""

import errno
import fcntl
import json
import os
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile
from helpers.odd_files import archived, died, encoded, noise

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.lists import read_list
from espnet_hybridse.inference.files.jobs import plan_jobs


def files(folder, *names):
    """Write a short file of noise under each name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, noise(2400), 16000)


def names_of(jobs, root):
    return {str(job.source.relative_to(root)) for job in jobs}


def test_links_lead_to_the_same_files_by_folder_and_by_pattern(tmp_path):
    root = tmp_path / "in"
    files(root, "a.wav", "deep/b.wav")
    files(tmp_path / "elsewhere", "c.wav", "down/d.wav")
    (root / "more").symlink_to("../elsewhere")
    (root / "loop").symlink_to(".")
    (tmp_path / "elsewhere" / "back").symlink_to("../in")
    (root / "self").symlink_to("self")
    everything = {"a.wav", "deep/b.wav", "more/c.wav", "more/down/d.wav"}
    assert names_of(plan_jobs(root, tmp_path / "out"), root) == everything
    assert names_of(plan_jobs(root / "**" / "*.wav", tmp_path / "out"), root) == everything
    [job] = plan_jobs(root / "*" / "c.wav", tmp_path / "out")
    assert job.target == tmp_path / "out" / "more" / "c.wav"
    assert names_of(plan_jobs(root / "*.wav", tmp_path / "out"), root) == {"a.wav"}
    # Results within IN are no input, however it is named.
    files(root, "out/a.wav")
    for source in (root, root / "**", root / "**" / "?.wav"):
        assert names_of(plan_jobs(source, root / "out"), root) == everything


def test_brackets_in_a_name_are_a_name_where_there_is_one(tmp_path):
    files(tmp_path, "in[1]/a.wav", "in1/b.wav")
    [job] = plan_jobs(tmp_path / "in[1]" / "*.wav", tmp_path / "out")
    assert job.uid == "a.wav"


def test_what_is_no_audio_is_counted(tmp_path):
    files(tmp_path / "in", "a.wav", ".hidden.wav", ".git/b.wav")
    for name in ("notes.txt", "b.TXT", "README"):
        (tmp_path / "in" / name).write_text("text")
    others = Counter()
    assert len(plan_jobs(tmp_path / "in", tmp_path / "out", others=others)) == 1
    assert others == {".txt": 2, "without ending": 1, "hidden": 2}


def test_where_results_of_other_containers_go(tmp_path):
    files(tmp_path / "in", "a.wav", "a.flac")
    (tmp_path / "in" / "a.m4a").write_bytes(b"")
    (tmp_path / "in" / "b.MP4").write_bytes(b"")
    targets = {job.uid: job.target.name for job in plan_jobs(tmp_path / "in", tmp_path / "out")}
    expected = {"a.wav": "a.wav", "a.flac": "a.flac", "a.m4a": "a.m4a.flac", "b.MP4": "b.flac"}
    assert targets == expected
    soundfile.write(tmp_path / "float.wav", noise(800), 16000, subtype="FLOAT")
    scp = tmp_path / "wav.scp"
    scp.write_text(f"x {tmp_path}/float.wav\ny {tmp_path}/in/a.wav\nz nowhere.wav\n")
    names = [job.target.name for job in plan_jobs(scp, tmp_path / "out")]
    assert names == ["x.wav", "y.flac", "z.flac"]
    several = plan_jobs([tmp_path / "float.wav", tmp_path / "in", scp], tmp_path / "out")
    assert len(several) == 8 and several[0].target == tmp_path / "out" / "float.wav"
    with pytest.raises(ValueError, match=r"\.m4a cannot be written"):
        plan_jobs(tmp_path / "float.wav", tmp_path / "b.m4a")
    with pytest.raises(ValueError, match="would both be written to"):
        plan_jobs([tmp_path / "in/a.wav", tmp_path / "in/.." / "in/a.wav"], tmp_path / "out")


def enhance(models, *arguments):
    return main(["enhance", *map(str, arguments), "--model", str(models / "disc")])


def test_silence_and_a_moment_of_sound_keep_a_set_complete(models, tmp_path, capsys, caplog):
    wavs = {"a": noise(4000), "b": np.zeros(4000), "c": noise(496), "d": 1e-7 * noise(4000)}
    noisy = tmp_path / "wav.scp"
    for uid, wav in wavs.items():
        soundfile.write(tmp_path / f"{uid}.wav", wav, 16000)
    noisy.write_text("".join(f"{uid} {tmp_path}/{uid}.wav\n" for uid in wavs))
    assert enhance(models, noisy, tmp_path / "out") == 0
    assert "4 enhanced" in capsys.readouterr().out
    assert "b.wav: silent" in caplog.text and "c.wav: very short: 0.031 s" in caplog.text
    done = read_list(tmp_path / "out" / "spk1.scp")
    for uid, wav in wavs.items():
        out, fs = soundfile.read(done[uid])
        assert (fs, out.size) == (16000, wav.size)
        # libsndfile rounds down: what is next to nothing is a step below zero here and there.
        assert (np.abs(out).max() > 1e-4) == (uid in "ac")
    facts = [f"{name}=1" for name in ("team", "training_data", "parameters_in_millions", "contact")]
    zipped = tmp_path / "out.zip"
    arguments = ["submit", str(zipped), "--noisy", str(noisy)]
    code = main([*arguments, "--enhanced", str(tmp_path / "out/spk1.scp"), "--fact", *facts])
    assert code == 0 and len(zipfile.ZipFile(zipped).namelist()) == 5


def test_lists_into_archives(models, tmp_path, capsys):
    wavs, content = {f"u{n}": noise(3000 + n, n) for n in range(3)}, {}
    for uid, wav in wavs.items():
        soundfile.write(tmp_path / "one.flac", wav, 16000)
        content[uid] = (tmp_path / "one.flac").read_bytes()
    places = archived(tmp_path / "wav.ark", content)
    noisy = tmp_path / "wav.scp"
    noisy.write_text("".join(f"{uid} {place}\n" for uid, place in places.items()))
    assert enhance(models, noisy, tmp_path / "out") == 0
    assert enhance(models, noisy, tmp_path / "out") == 0
    assert "3 were there already" in capsys.readouterr().out
    for uid, path in read_list(tmp_path / "out" / "spk1.scp").items():
        assert soundfile.info(path).frames == wavs[uid].size
    assert enhance(models, places["u1"], tmp_path / "one.wav") == 0
    assert soundfile.info(tmp_path / "one.wav").frames == 3001
    facts = [f"{name}=1" for name in ("team", "training_data", "parameters_in_millions", "contact")]
    # Enhanced files may lie in an archive, too.
    arguments = ["--noisy", noisy, "--enhanced", noisy, "--fact", *facts]
    assert main(["submit", str(tmp_path / "a.zip"), *map(str, arguments)]) == 0


def test_names_that_are_no_text(models, tmp_path, capsys):
    folder = tmp_path / "in"
    files(folder, "a.wav", "b.wav")
    odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")
    os.rename(folder / "a.wav", odd)
    (folder / "c.wav").write_text("no audio")
    bad = os.fsdecode(os.fsencode(folder) + b"/b\xe4d.wav")
    os.rename(folder / "c.wav", bad)
    assert enhance(models, folder, tmp_path / "out", "--json", "--report") == 0
    text = capsys.readouterr().out
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert rows[-1]["summary"]["enhanced"] == 2 and rows[-1]["summary"]["quarantined"] == 1
    assert {row["id"] for row in rows[:-1]} == {"caf\\xe9.wav", "b.wav", "b\\xe4d.wav"}
    assert os.path.isfile(os.fsencode(tmp_path / "out") + b"/caf\xe9.wav")
    assert "b\\xe4d.wav" in (tmp_path / "out" / "quarantine.tsv").read_text(encoding="utf-8")
    scp = tmp_path / "wav.scp"
    scp.write_bytes(b"\xef\xbb\xbfcaf\xe9 " + os.fsencode(odd) + b"\r\n")
    assert enhance(models, scp, tmp_path / "list") == 0
    table = read_list(tmp_path / "list" / "spk1.scp")
    assert list(table) == ["caf\\xe9"] and soundfile.info(table["caf\\xe9"]).frames == 2400


@pytest.mark.slow
def test_containers_of_all_kinds_at_once(models, tmp_path, capsys):
    folder = tmp_path / "in"
    files(folder, "a.wav", "notes.flac")
    (folder / "b.txt").write_text("text")
    encoded(folder / "b.m4a", "aac", noise(16384), 16000, "fltp")
    encoded(folder / "c.webm", "libopus", noise(48000), 48000, "s16")
    soundfile.write(folder / "d.sph", noise(2400), 16000, format="NIST", subtype="PCM_16")
    died(folder / "e.wav", "WAV", 0, noise(8000))
    assert enhance(models, folder, tmp_path / "out", "--nj", "2") == 0
    text = capsys.readouterr().out
    assert "6 enhanced" in text and "1 other files passed over (.txt 1)" in text
    found = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".jsonl"}
    expected = {"a.wav", "notes.flac", "b.flac", "c.flac", "d.sph", "e.wav"}
    assert {name for name in found if not name.startswith(".")} == expected
    assert soundfile.info(tmp_path / "out" / "e.wav").frames == 8000
    assert soundfile.info(tmp_path / "out" / "b.flac").frames == 16384


def test_samples_of_absurd_size_give_finite_ones_or_a_reason(models, tmp_path):
    soundfile.write(tmp_path / "a.wav", 1e20 * noise(8000), 16000, subtype="FLOAT")
    for gate in ("auto", "off"):
        out = tmp_path / f"{gate}.wav"
        code = enhance(models, tmp_path / "a.wav", out, "--gate", gate)
        if code == 0:
            assert np.isfinite(soundfile.read(out)[0]).all()
        else:
            assert code == 1 and not out.exists()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks_and_rights(models, tmp_path, monkeypatch, capsys, caplog, code):
    def refused(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(os, "chmod", refused)
    files(tmp_path / "in", "a.wav")
    assert enhance(models, tmp_path / "in", tmp_path / "out") == 0
    assert "no lock" in caplog.text and "1 enhanced" in capsys.readouterr().out


def test_a_packed_model_where_the_home_cannot_be_written(models, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    packed = tmp_path / "disc.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("config.yaml", "model.pth"):
            archive.write(models / "disc" / name, name)
    files(tmp_path, "a.wav")
    run = ["enhance", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--model", str(packed)]
    assert main(run) == 0 and (tmp_path / f"hybridse-{os.getuid()}").is_dir()


def test_controls_are_refused_before_work_starts(models, tmp_path, capsys):
    files(tmp_path, "a.wav", "b.wav")
    for arguments, problem in (
        (["--subtype", "IMA_ADPCM"], "fills a file up to a whole block"),
        (["--attn_limit_db", "-3"], "attn_limit_db=-3.0"),
        (["--loudness", "5"], "loudness=5.0"),
        (["--noise_out", str(tmp_path / "c.wav")], "to one place"),
    ):
        assert enhance(models, tmp_path / "a.wav", tmp_path / "c.wav", *arguments) == 2
        assert problem in capsys.readouterr().err
    assert enhance(models, tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "a.wav") == 2
    assert "IN and OUT are the same" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        enhance(models, tmp_path / "a.wav", tmp_path / "c.wav", "--loudness", "loud")
    assert "expected LUFS" in capsys.readouterr().err


def test_several_inputs_and_what_was_taken_from_them(models, tmp_path, capsys):
    files(tmp_path, "a.wav", "b.wav", "in/c.wav")
    inputs = [tmp_path / name for name in ("a.wav", "b.wav", "in")]
    options = ["--noise_out", tmp_path / "noise", "--attn_limit_db", "6", "--report"]
    assert enhance(models, *inputs, tmp_path / "out", *options) == 0
    text = capsys.readouterr().out
    assert "3 enhanced" in text and text.count("| a |") == 1
    for name in ("a.wav", "b.wav", "c.wav"):
        clean, _ = soundfile.read(tmp_path / "out" / name)
        away, _ = soundfile.read(tmp_path / "noise" / name)
        source = next(path for path in (tmp_path / name, tmp_path / "in" / name) if path.exists())
        np.testing.assert_allclose(clean + away, soundfile.read(source)[0], atol=1e-4)
    assert enhance(models, *inputs, tmp_path / "out", *options) == 0
    text = capsys.readouterr().out
    assert "3 were there already" in text and "| b |" in text
