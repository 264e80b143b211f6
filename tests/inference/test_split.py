"""Array jobs over a list: each does its part, the run after them joins and completes."""

import fcntl
import json

import numpy as np
import pytest
import soundfile

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.shards import Shard
from espnet_hybridse.inference.files.jobs import plan_jobs
from espnet_hybridse.inference.files.resume import only_run_in


@pytest.fixture
def listed(tmp_path):
    """A list of six recordings, one of which is broken, with their rates."""
    rng = np.random.default_rng(0)
    rows, rates = [], []
    for number in range(6):
        fs, path = (16000, 8000)[number % 2], tmp_path / f"u{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(fs // 2), fs)
        rows.append(f"u{number} {path}")
        rates.append(f"u{number} {fs}")
    (tmp_path / "u3.wav").write_text("no audio")
    (tmp_path / "wav.scp").write_text("\n".join(rows) + "\n")
    (tmp_path / "utt2fs").write_text("\n".join(rates) + "\n")
    return tmp_path / "wav.scp"


def test_two_jobs_and_the_run_that_joins_them(models, listed, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["enhance", str(listed), str(out), "--model", str(models / "disc"), "--device=cpu"]
    assert main([*command, "--split", "1/2"]) == 0
    assert sorted(path.name for path in out.glob("wav/*")) == ["u0.flac", "u2.flac", "u4.flac"]
    assert main([*command, "--split", "2/2"]) == 0
    assert not (out / "spk1.scp").exists() and not (out / "record.jsonl").exists()
    assert "u3" in (out / "quarantine.2of2.tsv").read_text()
    times = {path: path.stat().st_mtime_ns for path in out.glob("wav/*")}
    capsys.readouterr()
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("wav/*")} == times
    lines = [json.loads(line) for line in (out / "record.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines} == {f"u{number}" for number in range(6)}
    assert len((out / "spk1.scp").read_text().splitlines()) == 5
    assert "u3" in (out / "quarantine.tsv").read_text()
    assert not list(out.glob("*of2*")) and not list(out.glob(".lock.*"))


def test_wrong_splits_are_named(models, listed, tmp_path, capsys):
    command = ["enhance", str(listed), str(tmp_path / "out"), "--model", str(models / "disc")]
    assert main([*command, "--split", "3/2"]) == 2
    assert "--split 3/2 is not i/n with 1 <= i <= n" in capsys.readouterr().err
    command[1] = str(tmp_path / "u0.wav")
    assert main([*command, "--split", "1/2"]) == 2
    assert "--split is for a list, a folder or a pattern" in capsys.readouterr().err


def test_shards_share_a_folder_that_the_whole_does_not(tmp_path):
    with only_run_in(tmp_path, Shard("1/2")):
        with only_run_in(tmp_path, Shard("2/2")):
            for other in (None, Shard("1/2")):
                with pytest.raises(ValueError, match="another run writes there"):
                    with only_run_in(tmp_path, other):
                        pass
    with open(tmp_path / ".lock") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_sample_of_a_list_keeps_the_shares_of_its_rates(listed, tmp_path):
    drawn = [job.uid for job in plan_jobs(listed, tmp_path / "out", max_utts=4)]
    assert len(drawn) == 4 and sum(int(uid[1]) % 2 for uid in drawn) == 2
    assert drawn == [job.uid for job in plan_jobs(listed, tmp_path / "other", max_utts=4)]


def test_a_sample_is_not_the_first_names(tmp_path):
    """In the challenge's numbering those are of one corpus."""
    names = [f"corpus{number // 10}_{number % 10}" for number in range(40)]
    soundfile.write(tmp_path / "a.wav", np.full(800, 0.1), 16000)
    (tmp_path / "wav.scp").write_text("".join(f"{name} {tmp_path}/a.wav\n" for name in names))
    drawn = [job.uid for job in plan_jobs(tmp_path / "wav.scp", tmp_path / "out", max_utts=12)]
    assert len(set(drawn)) == 12 and {name.partition("_")[0] for name in drawn} == {
        f"corpus{number}" for number in range(4)
    }
