"""Models that travel: zips for ESPnet, folders for a hub, and the challenge's submission."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from espnet_hybridse import Enhancer
from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.assets import AssetCorrupt
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.model.find import DEFAULT_MODEL, find_model
from espnet_hybridse.release.hub import judged
from espnet_hybridse.release.submission import check_submission

pytestmark = pytest.mark.compat


def noise(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=samples).astype(np.float32)


@pytest.fixture(scope="module")
def packed(models, tmp_path_factory):
    """Folder with pack's three forms of the tiny models: folder/, zips/ and hub/."""
    root = tmp_path_factory.mktemp("packed")
    arguments = [f"--{name}={models / name}" for name in ("disc", "gen", "hybrid")]
    arguments += [f"--tokens={models}", f"--out={root}/folder", f"--zip={root}/zips"]
    facts = ["--fact", "data=none, random weights", "seed=0", "licence=CC0-1.0"]
    (root / "table.md").write_text("| System | PESQ |\n| :-- | --: |\n| GTCRN | 1.48 |\n")
    (root / "row.png").write_bytes(b"a picture")
    (root / "LICENSES.md").write_text(
        "# Recordings\n\n| source | licence |\n|---|---|\n| a | CC0 |\n"
    )
    facts += [f"--results={root}/table.md", f"--picture={root}/row.png"]
    facts += [f"--data_licences={root}/LICENSES.md"]
    assert main(["pack", *arguments, f"--hub={root}/hub", *facts]) == 0
    return root


def test_every_form_gives_the_same_samples(models, packed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wav = noise(9001)
    for branch in ("disc", "hybrid"):
        expected = Enhancer.from_pretrained(models / branch, gate="off")(wav, 24000)
        forms = (packed / "folder", packed / "hub", packed / "folder" / branch)
        for source in (*forms, packed / "zips" / f"{branch}.zip"):
            enhancer = Enhancer.from_pretrained(source, branch=branch, gate="off")
            np.testing.assert_array_equal(enhancer(wav, 24000), expected)
            # A second time: a zip is found unpacked.
            assert find_model(source, branch) == enhancer.loaded.loader.files


@pytest.mark.parametrize("branch", ["disc", "gen", "hybrid"])
def test_shipped_weights_open_where_there_is_no_gpu(branch):
    stored = torch.load(DEFAULT_MODEL / branch / "model.pth", weights_only=True)
    assert all(value.device.type == "cpu" for value in stored.values())


def test_how_much_a_model_changes_clean_speech_travels_with_it(tmp_path):
    models = [f"--{name}={DEFAULT_MODEL / name}" for name in ("disc", "gen", "hybrid")]
    assert main(["pack", *models, f"--tokens={DEFAULT_MODEL / 'tokens'}", f"--out={tmp_path}"]) == 0
    for name in ("disc", "gen", "hybrid"):
        said = Enhancer.from_pretrained(tmp_path, branch=name).clean_change_db
        assert said == Enhancer.from_pretrained(branch=name).clean_change_db < -20


def test_changed_bytes_are_refused(packed, tmp_path):
    import shutil

    for name in ("hybrid/config.yaml", "disc/model.safetensors"):
        folder = tmp_path / name.split("/")[0]
        shutil.copytree(packed / "hub", folder)
        data = bytearray((folder / name).read_bytes())
        data[data.index(b"48000") if name.endswith("yaml") else -2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(AssetCorrupt, match=f"{Path(name).name}: expected sha256"):
            Enhancer.from_pretrained(folder, gate="off")


def test_the_hub_folder_has_a_card_and_nothing_but_a_model_s_files(packed):
    hub = packed / "hub"
    _, front, text = (hub / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "cc0-1.0"
    for title in ("Configuration", "Data", "Results", "Licence", "Limits", "Training"):
        assert f"## {title}\n" in text
    assert "| GTCRN | 1.48 |" in text and "| a | CC0 |" in text
    assert "](spectrograms.png)" in text and (hub / "spectrograms.png").read_bytes() == b"a picture"
    assert not list(hub.rglob("*.pth"))
    files = {path.suffix for path in hub.rglob("*") if path.is_file()}
    assert files == {".yaml", ".json", ".safetensors", ".md", ".png", ".py", ".txt"}


def test_the_card_names_metrics_that_were_in_a_loss():
    assert judged({"disc": [], "hybrid": []}).startswith("No metric was in a loss")
    assert "hybrid: DNSMOS OVRL, PESQ" in judged({"disc": [], "hybrid": ["DNSMOS OVRL", "PESQ"]})


def test_parts_of_a_card_are_looked_for_before_the_work(models, tmp_path, capsys):
    given = [f"--disc={models}/disc", f"--tokens={models}", f"--out={tmp_path}/out"]
    assert main(["pack", *given, f"--hub={tmp_path}/hub", "--results=none.md"]) == 2
    assert "--results none.md: no such file" in capsys.readouterr().err
    (tmp_path / "table.md").write_text("")
    assert main(["pack", *given, f"--results={tmp_path}/table.md"]) == 2
    assert "are for the card of --hub DIR" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_hub_folder_brings_its_page(packed, monkeypatch):
    """`app.py` serves the folder that it stands in, at a Space's address."""
    pytest.importorskip("gradio", reason="of the extra demo")
    import runpy

    given = {}
    serve = "espnet_hybridse.demo.page.serve"
    monkeypatch.setattr(serve, lambda model, **options: given.update(options, model=model))
    runpy.run_path(str(packed / "hub" / "app.py"), run_name="__main__")
    assert given["model"] == str(packed / "hub") and given["port"] == 7860
    assert given["examples"] and not given.get("share")
    _, front, _ = (packed / "hub" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["app_file"] == "app.py"
    assert "espnet_hybridse[demo]" in (packed / "hub" / "requirements.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("branch", ["disc", "gen", "hybrid"])
def test_stock_espnet_gives_the_same_from_our_zip(branch, tmp_path):
    """The three trained models of the repository, unpacked and run by ESPnet alone."""
    from espnet2.bin.enh_inference import SeparateSpeech
    from espnet2.main_funcs.pack_funcs import unpack

    import espnet_hybridse

    arguments = [f"--{name}={DEFAULT_MODEL / name}" for name in ("disc", "gen", "hybrid")]
    arguments += [f"--tokens={DEFAULT_MODEL}/tokens", f"--out={tmp_path}/folder"]
    assert main(["pack", *arguments, f"--zip={tmp_path}/zips"]) == 0
    espnet_hybridse.register()
    files = unpack(tmp_path / f"zips/{branch}.zip", tmp_path / "unpacked")
    stock = SeparateSpeech(files["train_config"], files["model_file"])
    ours = Enhancer.from_pretrained(tmp_path / "folder", branch=branch, gate="off")
    for fs in RATES:
        length = fs // 50 * 25
        wav = noise(length, seed=fs)
        [theirs] = stock(wav[None], fs=fs)
        np.testing.assert_allclose(theirs[0], ours(wav, fs), atol=1e-5)


def test_the_model_of_the_checkout_is_the_default(tmp_path, monkeypatch):
    assert find_model().folder == DEFAULT_MODEL / "hybrid"
    assert find_model(branch="gen").folder == DEFAULT_MODEL / "gen"
    monkeypatch.setattr("espnet_hybridse.model.find.DEFAULT_MODEL", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no model comes with this installation"):
        find_model()


def test_an_installation_has_the_model_too(tmp_path):
    pytest.importorskip("setuptools")
    root = Path(__file__).parents[2]
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(build, cwd=root, check=True)
    code = "from espnet_hybridse.model.find import find_model; print(find_model().folder)"
    path = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=path, capture_output=True, text=True
    )
    folder = Path(done.stdout.splitlines()[-1])
    assert folder == tmp_path / "espnet_hybridse/pretrained/small/hybrid"
    weights = "model.pth"
    assert (folder / weights).read_bytes() == (DEFAULT_MODEL / "hybrid" / weights).read_bytes()


@pytest.fixture
def lists(tmp_path):
    """noisy.scp and enhanced.scp of three files; the enhanced ones are 24-bit WAV."""
    rows = {"noisy": [], "enhanced": []}
    for number, fs in enumerate((8000, 22050, 48000)):
        wav = noise(fs // 10, number)
        for name, suffix, subtype in (("noisy", "flac", "PCM_16"), ("enhanced", "wav", "PCM_24")):
            path = tmp_path / f"{name}{number}.{suffix}"
            soundfile.write(path, wav, fs, subtype=subtype)
            rows[name].append(f"utt{number} {path}\n")
    for name, lines in rows.items():
        (tmp_path / f"{name}.scp").write_text("".join(lines))
    return tmp_path


FACTS = ["--fact", "team=us", "training_data=challenge", "parameters_in_millions=20", "contact=a@b"]


def test_a_submission_is_made_and_passes(lists, capsys):
    path, noisy = str(lists / "s.zip"), f"--noisy={lists}/noisy.scp"
    assert main(["submit", path, noisy, f"--enhanced={lists}/enhanced.scp"]) == 2
    assert "team, training_data" in capsys.readouterr().err
    assert main(["submit", path, noisy, f"--enhanced={lists}/enhanced.scp", *FACTS]) == 0
    assert main(["submit", path, noisy, "--check"]) == 0
    assert "0 problems" in capsys.readouterr().out
    with zipfile.ZipFile(path) as archive:
        assert yaml.safe_load(archive.read("README.yaml"))["team"] == "us"
        assert {n for n in archive.namelist() if n != "README.yaml"} == {
            f"enhanced/utt{n}.flac" for n in range(3)
        }
    (lists / "fewer.scp").write_text((lists / "enhanced.scp").read_text().split("\n", 1)[1])
    assert main(["submit", path, noisy, f"--enhanced={lists}/fewer.scp", *FACTS]) == 2
    assert "1 of 3 files were not enhanced, such as utt0" in capsys.readouterr().err
    before = (lists / "s.zip").read_bytes()
    rows = (lists / "enhanced.scp").read_text().replace("enhanced0.wav", "enhanced1.wav")
    (lists / "other.scp").write_text(rows)
    assert main(["submit", path, noisy, f"--enhanced={lists}/other.scp", *FACTS]) == 2
    assert "utt0.flac: 22050 Hz, its noisy file has 8000 Hz" in capsys.readouterr().err
    assert (lists / "s.zip").read_bytes() == before
    Path(lists / "enhanced0.wav").write_bytes(b"")
    assert main(["submit", path, noisy, f"--enhanced={lists}/enhanced.scp", *FACTS]) == 2
    assert "enhanced0.wav: unreadable" in capsys.readouterr().err
    (lists / "template.yaml").write_text("a: 1\n b: [")
    template = f"--template={lists}/template.yaml"
    assert main(["submit", path, noisy, f"--enhanced={lists}/enhanced.scp", template]) == 2
    assert "template.yaml: not YAML" in capsys.readouterr().err


def test_every_broken_rule_is_named(lists, capsys):
    noisy = dict(line.split() for line in (lists / "noisy.scp").read_text().splitlines())
    path = lists / "s.zip"
    flac = Path(noisy["utt0"]).read_bytes()
    soundfile.write(lists / "stereo.flac", np.zeros((800, 2)), 8000, subtype="PCM_24")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.yaml", json.dumps({"team": ""}))
        archive.writestr("enhanced/utt0.flac", (lists / "stereo.flac").read_bytes())
        archive.writestr("enhanced/utt1.flac", flac)
        archive.writestr("enhanced/.DS_Store", b"")
        archive.writestr("../utt0.flac", flac)
        archive.writestr("utt2.flac", flac)
    problems = "\n".join(check_submission(path, noisy))
    for text in (
        "README.yaml: team is empty",
        "utt0.flac: FLAC PCM_24, expected FLAC PCM_16",
        "utt0.flac: 2 channels, expected 1",
        "utt1.flac: 8000 Hz, its noisy file has 22050 Hz",
        "utt1.flac: 800 samples, its noisy file has 2205",
        ".DS_Store: hidden file",
        "../utt0.flac: a path out of the zip or a link",
        "utt2.flac: neither README.yaml nor enhanced/<id>.flac",
        "enhanced/utt2.flac is missing",
    ):
        assert text in problems
    assert main(["submit", str(path), f"--noisy={lists}/noisy.scp", "--check"]) == 1
    path.write_bytes(b"no zip")
    assert "not a zip" in check_submission(path, noisy)[0]
