"""The chain on a tiny real set: train, resume, enhance, score; kills; bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from helpers.tiny_models import DISC, FUSION, GEN

from espnet_hybridse import Enhancer
from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import read_list

pytestmark = pytest.mark.compat

CONF = Path(__file__).parents[2] / "conf" / "mini"
SIZES = {"disc": DISC, "gen": {**GEN, "vocab_size": 16}, "hybrid": FUSION}


def write_config(folder, branch, **changes):
    """The mini preset with a tiny network."""
    name = "fusion" if branch == "hybrid" else branch
    config = yaml.safe_load((CONF / f"train_{name}.yaml").read_text())
    config["separator_conf"].update(SIZES[branch])
    config.update({"max_epoch": 1, "num_iters_per_epoch": 2, "num_workers": 0, **changes})
    config["preprocessor_conf"] = {"chunk_s": 1.0}
    path = folder / f"{branch}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def command(rendered, branch, config, *more):
    sets = [f"--{name}={rendered}/dump/raw/train" for name in ("train", "valid")]
    where = [f"--exp={rendered}/exp/{branch}", f"--branches={rendered}/dump/branches"]
    where.append(f"--tokens={rendered}/dump/tokens")
    return ["train", "--branch", branch, f"--config={config}", *sets, *where, *more]


@pytest.fixture(scope="module")
def disc(rendered):
    """A discriminative branch after one epoch."""
    assert main(command(rendered, "disc", write_config(rendered, "disc"))) == 0
    return rendered / "exp" / "disc"


def test_training_resumes_where_it_stopped(rendered, disc, capsys):
    assert main(command(rendered, "disc", write_config(rendered, "disc"))) == 0
    assert "trained already" in capsys.readouterr().out
    config = write_config(rendered, "disc", max_epoch=2)
    assert main(command(rendered, "disc", config)) == 0
    log = (disc / "train.log").read_text()
    assert "resumed using" in log and "2epoch results" in log and log.count("1epoch results") == 1


@pytest.mark.slow
def test_killed_training_resumes(rendered):
    config = write_config(rendered, "disc", max_epoch=50)
    arguments = command(rendered, "disc", config)
    exp = rendered / "exp" / "killed"
    arguments = [f"--exp={exp}" if a.startswith("--exp") else a for a in arguments]
    process = subprocess.Popen([sys.executable, "-m", "espnet_hybridse.cli.main", *arguments])
    deadline = time.monotonic() + 240
    while not (exp / "1epoch.pth").is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.5)  # the trainer itself notices within half a second
    size = (exp / "train.log").stat().st_size
    time.sleep(1.0)
    assert (exp / "train.log").stat().st_size == size, "the trainer outlived its command"
    done = max(int(path.name[: -len("epoch.pth")]) for path in exp.glob("[0-9]*epoch.pth"))
    goal = done + 2  # the checkpoint may be one epoch ahead of the weights
    write_config(rendered, "disc", max_epoch=goal)
    assert main(arguments) == 0
    log = (exp / "train.log").read_text()
    assert "resumed using" in log and f"{goal}epoch results" in log


@pytest.mark.slow
def test_hybrid_from_dumped_branches_scores(rendered, disc):
    wavs = rendered / "dump/raw/train/wav.scp"
    for branch in ("disc", "gen"):  # the discriminative branch stands for both here
        out = rendered / "dump/branches" / branch / "train"
        assert main(["enhance", str(wavs), str(out), "--model", str(disc)]) == 0
        assert read_list(out / "spk1.scp").keys() == read_list(wavs).keys()
    config = write_config(rendered, "hybrid")
    more = ["--", "--separator_conf", "disc=../disc", "--separator_conf", "gen=../disc"]
    assert main(command(rendered, "hybrid", config, *more)) == 0
    state = (rendered / "exp/hybrid/1epoch.pth").stat().st_size
    assert state < 200_000, "frozen branches must not be saved again"

    packed = rendered / "packed"
    folders = {"disc": "disc", "gen": "disc", "hybrid": "hybrid"}
    models = [f"--{name}={rendered}/exp/{folder}" for name, folder in folders.items()]
    assert main(["pack", *models, f"--tokens={rendered}", f"--out={packed}"]) == 0
    assert str(rendered) not in (packed / "hybrid/config.yaml").read_text()
    wav = 0.1 * np.random.default_rng(0).normal(size=16000).astype(np.float32)
    trained, travelled = (
        Enhancer.from_pretrained(d) for d in (rendered / "exp/hybrid", packed / "hybrid")
    )
    for fs in RATES:
        out = trained(wav, fs)
        np.testing.assert_allclose(travelled(wav, fs), out, atol=1e-6)
        assert out.shape == wav.shape and np.abs(out).max() > 1e-3

    parts = trained.branches(wav, 16000)
    np.testing.assert_allclose(parts["fused"], trained(wav, 16000), atol=1e-5)
    np.testing.assert_allclose(parts["disc"], Enhancer.from_pretrained(disc)(wav, 16000), atol=1e-5)
    assert parts["mask"].shape == (101, 161)
    pytest.importorskip("matplotlib", reason="extra 'recipe' is not installed")
    report = ["report", f"--model={packed}/hybrid", f"--wavs={wavs}", f"--out={rendered}/report"]
    assert main([*report, "--pictures", "2", f"--clean={wavs.parent}/spk1.scp"]) == 0
    assert (rendered / "report/branches.png").read_bytes().startswith(b"\x89PNG")
    assert "| 0 to 1 |" in (rendered / "report/RESULTS.md").read_text()

    pytest.importorskip("pystoi", reason="extra 'scoring' is not installed")
    out = rendered / "exp/disc/enhanced"
    assert main(["enhance", str(wavs), str(out), "--model", str(disc)]) == 0
    ref = rendered / "dump/raw/train/spk1.scp"
    scored = ["score", f"--ref={ref}", f"--inf={out / 'spk1.scp'}", f"--out={out}/scores"]
    assert main([*scored, "--metrics", "ESTOI", "--nj", "1"]) == 0
    rows = (out / "scores/scores.jsonl").read_text().splitlines()
    assert len(rows) == len(read_list(wavs))


@pytest.mark.slow
def test_branches_learn_with_the_fusion_when_unfrozen(rendered, disc):
    exp = rendered / "exp/joint"
    arguments = command(rendered, "hybrid", write_config(rendered, "hybrid"), f"--exp={exp}")
    arguments += ["--branches=nowhere", "--on_the_fly", "--unfreeze", "disc"]
    branches = ["--separator_conf", "disc=../disc", "--separator_conf", "gen=../disc"]
    assert main([*arguments, "--", *branches]) == 0
    saved = torch.load(exp / "1epoch.pth", weights_only=True)
    joint = "separator.joint.disc."
    weights = {k[len(joint) :]: v for k, v in saved.items() if k.startswith(joint)}
    start = Enhancer.from_pretrained(disc).model.state_dict()
    moved = [not torch.equal(v, start[name]) for name, v in weights.items()]
    assert len(moved) == len(start) and np.mean(moved) > 0.9
    assert not any("joint.gen" in name for name in saved)
    loaded = Enhancer.from_pretrained(exp).model.state_dict()
    assert all(torch.equal(loaded[joint + name], v) for name, v in weights.items())


@pytest.mark.slow
def test_generative_branch_from_tokens_to_audio(rendered, capsys):
    pytest.importorskip("sklearn", reason="extra 'recipe' is not installed")
    tokens = rendered / "dump/tokens/train"
    spk1 = str(rendered / "dump/raw/train/spk1.scp")
    assert main(["tokenize", "--spk1", spk1, "--out", str(tokens), "--units", "16"]) == 0
    config = write_config(rendered, "gen")
    assert main(command(rendered, "gen", config)) == 0
    log = (rendered / "exp/gen/train.log").read_text()
    for name in ("nll=", "regression=", "token_accuracy=", "free_running_accuracy="):
        assert name in log
    wav = 0.1 * np.random.default_rng(0).normal(size=9000).astype(np.float32)
    enhancer = Enhancer.from_pretrained(rendered / "exp/gen")
    for fs in RATES:
        out = enhancer(wav, fs)
        assert out.shape == wav.shape and np.isfinite(out).all()
    noisy = str(rendered / "dump/raw/train/wav.scp")
    int8 = ["--decode_dtype", "int8", "--batch", "2", "--max_utts", "2"]
    enhance = ["enhance", noisy, str(rendered / "int8"), "--model"]
    assert main([*enhance, str(rendered / "exp/gen"), *int8]) == 0
    assert len(read_list(rendered / "int8/spk1.scp")) == 2

    changed = yaml.safe_load(config.read_text())
    changed["separator_conf"]["use_tokens"] = False
    changed["criterions"] = [c for c in changed["criterions"] if c["name"] != "token_nll"]
    without_lm = rendered / "gen_without_lm.yaml"
    without_lm.write_text(yaml.safe_dump(changed))
    fine_tune = command(rendered, "gen", without_lm, "--init", str(rendered / "exp/gen"))
    fine_tune += ["--exp", str(rendered / "exp/without_lm"), "--init_exclude", "separator.lm"]
    assert main(fine_tune) == 0

    manifest = tokens / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"vocab_size": 16', '"vocab_size": 17'))
    assert main([*command(rendered, "gen", config), "--max_hours", "5"]) == 2
    assert "tokens are not compatible: vocab_size is 17" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_tokenizing_resumes_without_loss(rendered, tmp_path, capsys):
    pytest.importorskip("sklearn", reason="extra 'recipe' is not installed")
    speech = read_list(rendered / "dump/raw/train/spk1.scp")
    copies = {f"{uid}-{i}": path for uid, path in speech.items() for i in range(15)}
    scp = tmp_path / "spk1.scp"
    scp.write_text("".join(f"{uid} {path}\n" for uid, path in copies.items()))
    fit = ["--spk1", str(rendered / "dump/raw/train/spk1.scp"), "--units", "16"]
    assert main(["tokenize", *fit, "--out", str(tmp_path / "first")]) == 0
    reuse = ["tokenize", "--spk1", str(scp), "--manifest", str(tmp_path / "first/manifest.json")]
    assert main([*reuse, "--out", str(tmp_path / "whole")]) == 0

    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "espnet_hybridse.cli.main", *reuse, "--out", str(out)]
    )
    part, deadline = out / "text_int.part", time.monotonic() + 240
    while time.monotonic() < deadline and not (part.is_file() and part.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "text_int").exists(), "the kill came too late to test anything"
    capsys.readouterr()
    assert main([*reuse, "--out", str(out)]) == 0
    assert f"{len(copies)} utterances" in (text := capsys.readouterr().out)
    assert f"{len(copies)} new" not in text, "what was done before the kill was done again"
    assert (out / "text_int").read_bytes() == (tmp_path / "whole/text_int").read_bytes()


@pytest.mark.parametrize("fs", [*RATES, 11025])
@pytest.mark.parametrize("samples", [1, 777, 12345])
def test_length_and_rate_are_kept(disc, fs, samples):
    wav = 0.1 * np.random.default_rng(0).normal(size=samples).astype(np.float32)
    out = Enhancer.from_pretrained(disc)(wav, fs)
    assert out.shape == wav.shape and out.dtype == wav.dtype and np.isfinite(out).all()


def test_long_audio_has_no_seam(disc):
    enhancer = Enhancer.from_pretrained(disc, segment_s=1.0, overlap_s=0.3, gate="off")
    wav = 0.1 * np.random.default_rng(0).normal(size=(2, 40000)).astype(np.float32)
    out = enhancer(wav, 16000)
    assert out.shape == wav.shape
    level = [np.sqrt(np.mean(part**2)) for part in np.array_split(out[0, 2000:-2000], 18)]
    assert 20 * np.log10(max(level) / min(level)) < 1.0


def test_bad_files_do_not_stop_the_others(disc, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    good = 0.1 * np.random.default_rng(0).normal(size=(8000, 2))
    soundfile.write(source / "deep" / "stereo.wav", good, 44100, subtype="PCM_24")
    soundfile.write(source / "silent.wav", np.zeros(8000), 16000)
    soundfile.write(source / "short.wav", good[:5, 0], 16000)
    soundfile.write(source / "nan.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
    (source / "text.wav").write_text("not audio")
    (source / "empty.wav").touch()
    assert main(["enhance", str(source), str(out), "--model", str(disc)]) == 0
    info = soundfile.info(out / "deep" / "stereo.wav")
    assert (info.samplerate, info.channels, info.frames) == (44100, 2, 8000)
    assert info.subtype == "PCM_24"
    text = capsys.readouterr().out
    assert "3 enhanced" in text and "3 quarantined, 2 with a warning" in text
    reasons = (out / "quarantine.tsv").read_text()
    for reason in ("NaN", "text.wav", "empty.wav"):
        assert reason in reasons
    for name, samples in (("silent", 8000), ("short", 5)):  # a set is only whole with them
        assert soundfile.info(out / f"{name}.wav").frames == samples
    assert main(["enhance", str(source), str(out), "--model", str(disc)]) == 0
    assert "3 were there already" in capsys.readouterr().out


def test_wrong_use_is_one_message(rendered, disc, tmp_path, capsys):
    config = write_config(rendered, "disc")
    assert main(["enhance", str(tmp_path / "none.wav"), "x", "--model", str(disc)]) == 2
    assert "no such file, folder or list" in capsys.readouterr().err
    assert main(["enhance", str(disc), "x", "--model", str(tmp_path)]) == 2
    assert "no trained weights" in capsys.readouterr().err
    wrong = [a.replace("dump/raw/train", "dump/none") for a in command(rendered, "disc", config)]
    assert main(wrong) == 2
    assert "hybridse simulate makes it" in capsys.readouterr().err


def test_pieces_enhanced_together_are_those_enhanced_alone(disc):
    wav = 0.1 * np.random.default_rng(0).normal(size=60000).astype(np.float32)
    options = {"segment_s": 0.8, "overlap_s": 0.2}
    alone, together = (
        Enhancer.from_pretrained(disc, batch=batch, **options)(wav, 16000) for batch in (1, 3)
    )
    np.testing.assert_allclose(together, alone, atol=1e-5)
    with pytest.raises(ValueError, match="batch=0 must be at least 1"):
        Enhancer.from_pretrained(disc, batch=0)
    with pytest.raises(ValueError, match=r"'int8': this model \(disc\) decodes no tokens"):
        Enhancer.from_pretrained(disc, decode_dtype="int8")


def test_stock_espnet_runs_our_model(rendered, disc):
    """SeparateSpeech of stock ESPnet gives what Enhancer gives."""
    from espnet2.bin.enh_inference import SeparateSpeech

    import espnet_hybridse

    espnet_hybridse.register()
    stock = SeparateSpeech(disc / "config.yaml", disc / "valid.loss.best.pth")
    wav = 0.1 * np.random.default_rng(0).normal(size=(1, 9600)).astype(np.float32)
    # ESPnet takes a file in one piece.
    enhancer = Enhancer.from_pretrained(disc, segment_s=10.0, gate="off")
    enhancer.model.load_state_dict(stock.enh_model.state_dict())
    for fs in RATES:
        [theirs] = stock(wav, fs=fs)
        np.testing.assert_allclose(theirs[0], enhancer(wav[0], fs), atol=1e-5)


def test_environment_is_left_alone():
    assert "HYBRIDSE_PARENT_PID" not in os.environ
