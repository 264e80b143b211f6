"""`hybridse doctor`: says what is missing and how to get it; fails only when the core is broken."""

import builtins
import json
import shutil
import sys

import pytest

from espnet_hybridse.cli import doctor, health
from espnet_hybridse.cli.main import main


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty Hugging Face cache, and a socket that nobody may open."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("doctor used the network"))
    return tmp_path


def hide(monkeypatch, module, error):
    """Make `import module` raise `error`, as a broken installation does."""
    real = builtins.__import__

    def guarded(name, *args, **kwargs):
        if name.split(".")[0] == module:
            raise error
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", guarded)
    monkeypatch.setattr(health.importlib, "import_module", guarded)


def test_a_working_core_returns_0_and_names_what_is_missing(no_network, capsys):
    assert main(["doctor", "--json", "--full"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["core_ok"]
    findings = {item["name"]: item for item in report["findings"]}
    assert findings["torch"]["detail"].startswith("2.")
    assert "mr_stft" in findings["criterion"]["detail"]
    assert "tfgridnet_sfi" in findings["separator"]["detail"]
    wavlm = findings["WavLM (semantic encoder)"]
    assert not wavlm["ok"]
    assert wavlm["fix"] == "hf download microsoft/wavlm-base-plus"


def test_every_missing_part_has_one_line_that_installs_it(no_network):
    for finding in health.examine():
        if not finding.ok:
            assert finding.fix, finding
            assert "\n" not in finding.fix
            commands = ("pip ", "hf ", "curl ", "python ", "git clone ", "docker ")
            assert finding.fix.startswith(commands), finding


def test_small_shared_memory_is_named(monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(total=64 * 2**20))
    finding = health.shared_memory()
    assert not finding.ok and not finding.core and "--shm-size" in finding.fix
    monkeypatch.undo()
    assert health.shared_memory(tmp_path / "none").ok


def test_weights_in_the_cache_are_found(no_network):
    commit = "0" * 40
    repo = no_network / "models--microsoft--wavlm-base-plus"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "pytorch_model.bin").write_bytes(b"weights")
    found = {finding.name: finding for finding in health.hub_weights()}
    assert found["WavLM (semantic encoder)"].ok
    assert found["WavLM (semantic encoder)"].detail == str(snapshot / "pytorch_model.bin")


def test_an_absent_optional_package_is_missing_not_broken(monkeypatch):
    error = ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
    hide(monkeypatch, "onnxruntime", error)
    finding = health.package("onnxruntime", "onnxruntime", core=False)
    assert (finding.ok, finding.core, finding.detail) == (False, False, "not installed")
    assert finding.fix == "pip install 'onnxruntime'"


def test_a_package_with_a_wrong_library_is_broken_and_gets_its_declared_range(monkeypatch):
    hide(monkeypatch, "torchaudio", OSError("libcudart.so.13: cannot open\nmore"))
    finding = health.package("torchaudio", "torchaudio", core=True)
    assert finding.detail == "installed but broken: OSError: libcudart.so.13: cannot open"
    assert finding.fix.startswith("pip install --force-reinstall 'torchaudio<2.12")


def test_a_broken_core_returns_1(monkeypatch, capsys):
    findings = [
        health.Finding("packages", "torch", False, "not installed", "pip install 'torch'", True),
        health.Finding("hub weights", "X-Codec (tokens)", False, "not cached", "hf download x"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda full: iter(findings))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "BROKEN" in text and "pip install 'torch'" in text
    assert "core broken: torch; 1 optional part(s) missing" in text


def test_the_short_report_names_a_package_that_is_not_there(monkeypatch):
    monkeypatch.setattr(health.importlib.util, "find_spec", lambda name: None)
    found = {item.name: item for item in health.packages()}
    assert not found["transformers"].ok and found["transformers"].fix.startswith("pip install")
    assert found["soundfile"].ok
