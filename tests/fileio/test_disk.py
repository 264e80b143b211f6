"""Room on the disk, the cache of a user whose home cannot be written, folders that appear whole."""

import os
import stat

import pytest

from espnet_hybridse.fileio.disk import cache_folder, check_room, free_bytes, staged_folder


def test_the_cache_is_elsewhere_where_a_home_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "hybridse"
    (tmp_path / "file").write_text("no folder")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder()
    assert folder == tmp_path / f"hybridse-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RuntimeError, match="set XDG_CACHE_HOME"):
        cache_folder()


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "model"
    with pytest.raises(KeyError), staged_folder(target) as staging:
        (staging / "half").write_text("half")
        raise KeyError
    assert list(target.parent.iterdir()) == []
    before = os.umask(0o027)
    try:
        with staged_folder(target) as staging:
            (staging / "whole").write_text("1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    with staged_folder(target) as staging:  # another process was faster
        (staging / "whole").write_text("2")
    assert (target / "whole").read_text() == "1" and len(list(target.parent.iterdir())) == 1


def test_what_does_not_fit_is_refused_with_both_numbers(tmp_path):
    place = tmp_path / "not" / "there" / "yet"
    assert free_bytes(place) == pytest.approx(free_bytes(tmp_path), rel=0.1)
    check_room(place, 1.0, "a byte", "none")
    with pytest.raises(RuntimeError, match="1000000.00 GB needed for all.*GB free; make"):
        check_room(place, 1e15, "all", "take less")
