"""The path of somebody who knows ESPnet: its inference module, its SeparateSpeech, its zips."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
import yaml
from helpers.saved_models import save_model
from helpers.tiny_models import FUSION, GEN

import espnet_hybridse
from espnet_hybridse import Enhancer
from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import read_list
from espnet_hybridse.model.find import DEFAULT_MODEL


def noise(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=samples).astype(np.float32)


@pytest.fixture
def several(tmp_path):
    """wav.scp and utt2fs of a file of each rate and of odd lengths."""
    lines = []
    for fs in RATES[::-1]:
        path = tmp_path / f"{fs}.wav"
        soundfile.write(path, noise(fs // 4 + 37, fs), fs, subtype="FLOAT")
        lines.append((f"utt{fs}", path, fs))
    (tmp_path / "wav.scp").write_text("".join(f"{uid} {path}\n" for uid, path, _ in lines))
    # In another order than the files.
    (tmp_path / "utt2fs").write_text("".join(f"{uid} {fs}\n" for uid, _, fs in lines[::-1]))
    return tmp_path


def module():
    """What `python -m` runs; imported when a test needs it, since ESPnet's takes seconds."""
    from espnet_hybridse.bin import enh_inference

    return enh_inference


def infer(folder, model, *more):
    """Run the module on `folder/wav.scp`; uid -> (samples, rate) of what it wrote."""
    names = [f"--train_config={model}/config.yaml", f"--model_file={model}/model.pth"]
    mixed = ["--data_path_and_name_and_type", f"{folder}/wav.scp,speech_mix,sound"]
    module().main([f"--output_dir={folder}/out", *names, *mixed, "--num_workers=0", *more])
    return {
        uid: soundfile.read(path, dtype="float32")
        for uid, path in read_list(folder / "out/spk1.scp").items()
    }


@pytest.mark.parametrize("name", [None, "fs", "utt2fs"])
def test_the_rates_are_those_of_the_files(several, models, name):
    before = module().enh_inference.SeparateSpeech
    streams = ["--data_path_and_name_and_type", f"{several}/utt2fs,{name},text_int"]
    done = infer(several, models / "disc", *(streams if name else []))
    assert module().enh_inference.SeparateSpeech is before, "stock ESPnet is left as it was"
    enhancer = Enhancer.from_pretrained(models / "disc", gate="off")
    for uid, path in read_list(several / "wav.scp").items():
        wav, fs = soundfile.read(path, dtype="float32")
        out, out_fs = done[uid]
        assert out_fs == fs and out.shape == wav.shape
        # Files hold no more than full scale.
        np.testing.assert_allclose(out, enhancer(wav, fs).clip(-1, 1), atol=2**-14)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--fs", "16000"], "--fs 16000, but utt48000 has 48000 Hz; leave --fs out"),
        (["{folder}/short,utt2fs,text_int"], "no rate in Hz for utt44100"),
    ],
)
def test_a_rate_that_is_wrong_or_missing_is_named(several, models, more, message, capsys):
    (several / "short").write_text("utt48000 48000\n")
    more = [word.format(folder=several) for word in more]
    more = more if more[0] == "--fs" else ["--data_path_and_name_and_type", *more]
    with pytest.raises(SystemExit) as stopped:
        infer(several, models / "disc", *more)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_a_file_without_a_header_is_named(several, models, capsys):
    (several / "wav.scp").write_text("a cat x.wav |\n")
    with pytest.raises(SystemExit):
        infer(several, models / "disc")
    assert "a tells no rate" in (text := capsys.readouterr().err) and "utt2fs,utt2fs" in text


@pytest.mark.slow
@pytest.mark.parametrize("branch", ["disc", "gen", "hybrid"])
def test_separate_speech_gives_the_same_for_every_length(branch, monkeypatch):
    """Stock ESPnet's class on the models of the repository, as they stand there."""
    from espnet2.bin.enh_inference import SeparateSpeech

    espnet_hybridse.register()
    # A hybrid's folder names its branches relative to itself; ESPnet finds them from there.
    monkeypatch.chdir(DEFAULT_MODEL / branch)
    stock = SeparateSpeech(Path("config.yaml"), Path("model.pth"))
    ours = Enhancer.from_pretrained(branch=branch, gate="off")
    rng = np.random.default_rng(0)
    for fs in RATES:
        for length in (1, fs // 50 * 7, *rng.integers(fs // 10, fs // 2, 3).tolist()):
            wav = noise(int(length), seed=int(length))
            [theirs] = stock(wav[None], fs=fs)
            np.testing.assert_allclose(theirs[0], ours(wav, fs), atol=1e-5)


def test_a_zip_of_stock_espnet_is_a_model(models, tmp_path, monkeypatch):
    """`espnet2.bin.pack enh` follows the link to the best epoch and stores that one's name."""
    from espnet2.bin import pack

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exp = tmp_path / "exp/enh_train"
    exp.mkdir(parents=True)
    (exp / "config.yaml").write_text((models / "disc/config.yaml").read_text())
    (exp / "1epoch.pth").write_bytes((models / "disc/model.pth").read_bytes())
    os.symlink("1epoch.pth", exp / "valid.loss.best.pth")
    monkeypatch.chdir(tmp_path)
    files = ["--train_config", "exp/enh_train/config.yaml"]
    files += ["--model_file", "exp/enh_train/valid.loss.best.pth"]
    pack.main(["enh", *files, "--outpath", "stock.zip"])
    wav = noise(4000)
    expected = Enhancer.from_pretrained(models / "disc", gate="off")(wav, 16000)
    np.testing.assert_array_equal(
        Enhancer.from_pretrained("stock.zip", gate="off")(wav, 16000), expected
    )


MANIFEST = '{"backend": "kmeans", "id": "x", "sha256": "0", "rate": 50, "vocab_size": 16}'


def pack_gen(gen, out):
    """Code of `hybridse pack` of a generative branch in all its forms."""
    (gen.parent / "manifest.json").write_text(MANIFEST)
    forms = [f"--out={out}/folder", f"--zip={out}/zips", f"--hub={out}/hub"]
    return main(["pack", f"--gen={gen}", f"--tokens={gen.parent}", *forms])


def test_an_encoder_of_this_machine_travels_with_its_branch(wavlm_dir, tmp_path, monkeypatch):
    from espnet2.bin.enh_inference import SeparateSpeech
    from espnet2.main_funcs.pack_funcs import unpack

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = shutil.copytree(wavlm_dir, tmp_path / "here/wavlm")
    conf = {**GEN, "vocab_size": 16, "semantic": "wavlm", "semantic_conf": {"model": str(here)}}
    gen = save_model(tmp_path / "exp/gen", "ar_refiner", conf)
    wav = noise(4000)
    expected = Enhancer.from_pretrained(gen, gate="off")(wav, 16000)
    assert pack_gen(gen, tmp_path) == 0
    shutil.rmtree(here.parent)
    for form in ("folder", "zips/gen.zip", "hub"):
        enhancer = Enhancer.from_pretrained(tmp_path / form, branch="gen", gate="off")
        np.testing.assert_allclose(enhancer(wav, 16000), expected, atol=1e-6)
    espnet_hybridse.register()
    files = unpack(tmp_path / "zips/gen.zip", tmp_path / "unpacked")
    [theirs] = SeparateSpeech(files["train_config"], files["model_file"])(wav[None], fs=16000)
    np.testing.assert_allclose(theirs[0], expected, atol=1e-5)


def test_an_encoder_that_cannot_travel_is_refused(wavlm_dir, tmp_path, capsys):
    conf = {**GEN, "vocab_size": 16, "semantic": "wavlm", "semantic_conf": {"model": wavlm_dir}}
    gen = save_model(tmp_path / "exp/gen", "ar_refiner", conf)
    config = yaml.safe_load((gen / "config.yaml").read_text())
    config["separator_conf"]["semantic"] = "s3prl"
    (gen / "config.yaml").write_text(yaml.safe_dump(config))
    assert pack_gen(gen, tmp_path) == 2
    assert "does not travel; train with semantic: wavlm" in capsys.readouterr().err


ONE_RATE = {"layer": 1, "num_spk": 1, "bottleneck_dim": 8, "hidden_dim": 8, "kernel": 3, "stack": 1}


def test_a_separator_of_one_rate_takes_all(tmp_path):
    """Layers of ESPnet's tcn have as many inputs as there are bins at 48 kHz."""
    torch.manual_seed(0)
    tcn = save_model(tmp_path / "tcn", "tcn", ONE_RATE)
    enhancer = Enhancer.from_pretrained(tcn, gate="off")
    disc = Enhancer.from_pretrained(tcn, branch="disc", gate="off")
    fusion = {**FUSION, "disc": "../tcn", "gen": "../tcn", "third": "../tcn"}
    save_model(tmp_path / "hybrid", "uses_fusion", {**fusion, "gen": None})
    hybrid = Enhancer.from_pretrained(tmp_path / "hybrid", gate="off")
    for fs in RATES:
        wav = noise(fs // 5 + 11)
        out = enhancer(wav, fs)
        assert out.shape == wav.shape and np.isfinite(out).all() and np.abs(out).max() > 1e-4
        np.testing.assert_array_equal(out, disc(wav, fs))
        assert np.isfinite(hybrid(wav, fs)).all()
    wav = noise(3200)
    at_16k = enhancer(wav, 16000)
    same = soxr.resample(wav, 16000, 48000, quality="VHQ")
    whole = soxr.resample(enhancer(same, 48000), 48000, 16000, quality="VHQ")
    band = [soxr.resample(x, 16000, 12000, quality="VHQ") for x in (at_16k, whole)]
    within = slice(300, -300)  # the resampler rings at either end
    error, level = (np.sqrt(np.mean(x[within] ** 2)) for x in (band[0] - band[1], band[1]))
    assert error < 0.1 * level
