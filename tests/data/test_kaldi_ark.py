"""Audio in archives is the audio in files, for ESPnet and for the other stages."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.training_runs import assert_equal, make_run, train_here, weights

from espnet_hybridse.cli.main import main
from espnet_hybridse.data.kaldi_ark import archive_set
from espnet_hybridse.fileio.audio import BadAudio, read_audio
from espnet_hybridse.fileio.lists import ListError, read_list


@pytest.fixture(scope="module")
def archived(rendered, tmp_path_factory):
    """The rendered set in archives of about 250 kB."""
    out = tmp_path_factory.mktemp("ark") / "train"
    assert "archives written, 0 there" in archive_set(rendered / "dump/raw/train", out, 250_000)
    return out


def test_every_sample_is_the_same(rendered, archived):
    source = rendered / "dump/raw/train"
    assert 1 < len(list(archived.glob("wav.*.ark"))) < len(read_list(source / "wav.scp"))
    for name in ("wav.scp", "spk1.scp"):
        files, entries = read_list(source / name), read_list(archived / name)
        assert files.keys() == entries.keys()
        for uid, path in files.items():
            (one, fs), (other, same) = read_audio(path), read_audio(entries[uid])
            assert fs == same
            np.testing.assert_array_equal(one, other)
    assert (archived / "utt2fs").read_bytes() == (source / "utt2fs").read_bytes()


@pytest.mark.slow
def test_training_on_archives_is_training_on_files(rendered, archived, tmp_path):
    run = make_run(rendered, tmp_path / "files", num_iters_per_epoch=4)
    train_here(run)
    other = make_run(rendered, tmp_path / "ark", num_iters_per_epoch=4)
    other = replace(other, train=archived, valid=archived)
    assert f"{archived}/wav.scp,speech_mix,kaldi_ark" in list(other.streams(archived))
    train_here(other)
    assert_equal(weights(tmp_path / "files/1epoch.pth"), weights(tmp_path / "ark/1epoch.pth"))


def test_only_what_is_missing_is_written_again(rendered, tmp_path, capsys):
    source, out = rendered / "dump/raw/train", tmp_path / "ark"
    command = ["archive", str(source), "--out", str(out), "--shard_mb", "0.25"]
    assert main(command) == 0
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    shard = out / "wav.00001.ark"
    shard.write_bytes(shard.read_bytes()[:-1])
    capsys.readouterr()
    assert main(command) == 0
    assert "1 archives written" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_a_bad_file_leaves_every_list(rendered, tmp_path):
    source = tmp_path / "set"
    shutil.copytree(rendered / "dump/raw/train", source)
    wavs = read_list(source / "wav.scp")
    broken = sorted(wavs)[0]
    bad = tmp_path / "bad.flac"
    bad.write_text("not audio")
    text = (source / "wav.scp").read_text().replace(wavs[broken], str(bad))
    (source / "wav.scp").write_text(text)
    assert "1 quarantined" in archive_set(source, tmp_path / "out")
    for name in ("wav.scp", "spk1.scp", "utt2fs", "speech_length.scp"):
        assert read_list(tmp_path / "out" / name).keys() == wavs.keys() - {broken}
    assert "unreadable" in (tmp_path / "out/quarantine.tsv").read_text()


def test_wrong_places_are_named(rendered, archived, tmp_path):
    with pytest.raises(ListError, match="expected a folder with wav.scp or spk1.scp"):
        archive_set(tmp_path, tmp_path / "out")
    entry = next(iter(read_list(archived / "wav.scp").values()))
    with pytest.raises(BadAudio, match="no audio at this place; archive the set again"):
        read_audio(entry + "7")
