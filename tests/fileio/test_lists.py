"""Lists as people and other programs write them, and as killed runs leave them."""

import os
import stat

import pytest

from espnet_hybridse.fileio.lists import (
    ListError,
    Quarantine,
    appended,
    atomic_path,
    read_list,
    read_sources,
    whole_lines,
    write_json,
    write_list,
)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path):
    path = tmp_path / "wav.scp"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text("u1 /a/é.wav\r\nu2\t/b.wav\r\n", encoding=encoding)
        assert read_list(path) == {"u1": "/a/é.wav", "u2": "/b.wav"}


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_what_unicode_breaks_lines_at_stays_in_a_text(tmp_path, mark):
    path = tmp_path / "text"
    path.write_text(f"u1 one{mark}two\nu2 \u00a0three\u3000 \n", encoding="utf-8")
    assert read_list(path) == {"u1": f"one{mark}two", "u2": "\u00a0three\u3000"}
    write_list(tmp_path / "again", read_list(path))
    assert read_list(tmp_path / "again") == read_list(path)


def test_paths_keep_their_bytes_and_keys_are_text(tmp_path):
    path = tmp_path / "wav.scp"
    path.write_bytes(b"caf\xe9 /in/caf\xe9.wav\n")
    table = read_list(path)
    assert os.fsencode(table["caf\\xe9"]) == b"/in/caf\xe9.wav"
    write_list(tmp_path / "again.scp", table)
    assert read_list(tmp_path / "again.scp") == table
    path.write_bytes(b"caf\xe9 16000 /in/caf\xe9.wav\n")
    assert read_sources(path)["caf\\xe9"][0] == 16000
    quarantine = Quarantine(tmp_path / "quarantine.tsv")
    quarantine.add("a\tb", table["caf\\xe9"], "bad\nand worse")
    write_json(tmp_path / "a.json", {"path": table["caf\\xe9"]})
    assert "caf\\udce9" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert Quarantine.read(quarantine.path) == [("a b", "/in/caf\\xe9.wav", "bad and worse")]


def test_what_is_no_list_is_named(tmp_path):
    path = tmp_path / "wav.scp"
    for data, problem in (
        (b"", "the list is empty"),
        (b"\xef\xbb\xbf \r\n", "the list is empty"),
        (b"RIFF\0\0\0\0WAVE", "not text"),
        (b"a 1\na 2\n", "wav.scp:2: key 'a' stands twice"),
    ):
        path.write_bytes(data)
        with pytest.raises(ListError, match=problem):
            read_list(path)
    for data in (b"a /a.wav\n", b"a 16k /a.wav\n", "a ² /a.wav\n".encode(), b"a 1\n"):
        path.write_bytes(data)
        with pytest.raises(ListError, match="expected 'uid fs path'"):
            read_sources(path)
    with pytest.raises(ListError, match="a folder"):
        read_list(tmp_path)
    with pytest.raises(ListError, match="no such list"):
        read_list(tmp_path / "none.scp")


@pytest.mark.parametrize("torn", [b"", b"u3 \xc3", b"u" * 200000, b"u3 whole but for its end"])
def test_a_list_goes_on_behind_its_last_whole_line(tmp_path, torn):
    path = tmp_path / "text_int.part"
    assert whole_lines(path) == []
    with appended(path) as append:
        append("u1 é")
        append("u2 2")
    with open(path, "ab") as handle:
        handle.write(torn)
    assert whole_lines(path) == ["u1 é", "u2 2"]
    with appended(path) as append:
        append("u3 3")
    assert path.read_text(encoding="utf-8") == "u1 é\nu2 2\nu3 3\n"
    path.write_bytes(torn)
    with appended(path) as append:
        append("u1 1")
    assert path.read_text() == "u1 1\n"


@pytest.mark.parametrize("mask, rights", [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_have_the_rights_that_the_umask_leaves(tmp_path, monkeypatch, mask, rights):
    def refused(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    # As on CIFS, exFAT, FUSE and S3 mounts.
    monkeypatch.setattr(os, "chmod", refused)
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
        with atomic_path(tmp_path / "b.wav") as tmp:
            tmp.write_bytes(b"")
    finally:
        os.umask(before)
    for name in ("a.json", "b.wav"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == rights
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.wav"]
