"""`preprocessor: urgent_dynamic`: the same noise for the same epoch and utterance, always."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.simulation_sources import make_sources

from espnet_hybridse.cli.main import main
from espnet_hybridse.data.dynamic import UrgentDynamicPreprocessor
from espnet_hybridse.data.iterator import EpochIterFactory
from espnet_hybridse.fileio.lists import read_sources

YAML = "reverberation: {probability: 0.5}\nwind: {probability: 0.2}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Options of the preprocessor, and the folder of dry lists."""
    root = tmp_path_factory.mktemp("dynamic")
    folder = make_sources(root / "data", 8, num=6)
    (root / "simulation.yaml").write_text(YAML)
    rng = np.random.default_rng(0)
    for fs, path in read_sources(folder / "rir.scp").values():
        rir = 0.003 * rng.standard_normal(fs // 4)
        rir[fs // 100] = 0.5
        soundfile.write(path, rir, fs, subtype="FLOAT")
    dry = root / "dry"
    assert main(["simulate", "--sources", str(folder), "--out", str(dry), "--lists_only"]) == 0
    return {"sources": str(folder), "simulation": str(root / "simulation.yaml")}, dry


def dry(uid, folder):
    paths = dict(line.split() for line in (folder / "spk1.scp").read_text().splitlines())
    wav, fs = soundfile.read(paths[uid], dtype="float32")
    frames = -(-wav.size * 50 // fs)
    return {"speech_ref1": wav, "fs": np.array([fs]), "tokens": np.arange(frames)}


def test_noise_depends_on_seed_epoch_and_utterance_only(made):
    options, folder = made
    first = UrgentDynamicPreprocessor(True, **options, chunk_s=0.4)
    first.set_epoch(3)
    wanted = first("s8_0", dry("s8_0", folder))
    other = UrgentDynamicPreprocessor(True, **options, chunk_s=0.4)
    np.random.seed(99)  # ESPnet's workers seed NumPy differently
    other.set_epoch(2)
    before = other("s8_0", dry("s8_0", folder))
    other.set_epoch(3)
    other("s8_3", dry("s8_3", folder))
    again = other("s8_0", dry("s8_0", folder))
    for name in ("speech_mix", "speech_ref1", "tokens"):
        np.testing.assert_array_equal(again[name], wanted[name])
    assert not np.array_equal(before["speech_mix"], wanted["speech_mix"])
    seeded = UrgentDynamicPreprocessor(True, **options, chunk_s=0.4, seed=1)
    seeded.set_epoch(3)
    assert not np.array_equal(
        seeded("s8_0", dry("s8_0", folder))["speech_mix"], wanted["speech_mix"]
    )


def test_target_stays_aligned_with_its_tokens(made):
    options, folder = made
    preprocess = UrgentDynamicPreprocessor(True, **options, chunk_s=0.4)
    for epoch in range(12):
        preprocess.set_epoch(epoch)
        data = dry("s8_0", folder)
        out = preprocess("s8_0", dry("s8_0", folder))
        fs = int(out["utt2fs"][0])
        assert out["speech_mix"].shape == out["speech_ref1"].shape == (20 * fs // 50,)
        start = out["tokens"][0] * fs // 50
        cut = data["speech_ref1"][start : start + 20 * fs // 50]
        spectrum = np.fft.rfft(out["speech_ref1"], 2 * cut.size)
        cross = np.fft.irfft(spectrum * np.conj(np.fft.rfft(cut, 2 * cut.size)))
        delay = int(cross.argmax())
        assert min(delay, cross.size - delay) <= 1, epoch
        assert out["tokens"].tolist() == list(range(out["tokens"][0], out["tokens"][0] + 20))


def test_validation_works_on_rendered_noise(made):
    options, _ = made
    preprocess = UrgentDynamicPreprocessor(False, **options, chunk_s=0.4)
    noisy = np.arange(8000, dtype=np.float32)
    data = {"speech_mix": noisy, "speech_ref1": noisy, "fs": np.array([16000])}
    out = preprocess("a", data)
    np.testing.assert_array_equal(out["speech_mix"], noisy[640:7040])


def test_bad_noise_is_drawn_again_and_bad_speech_named(made, tmp_path):
    options, folder = made
    sources = tmp_path / "data"
    sources.mkdir()
    good = make_sources(tmp_path / "good", 9, num=1)
    for name in ("speech.scp", "utt2spk"):
        (sources / name).write_text((good / name).read_text())
    noise = (good / "noise.scp").read_text().splitlines()[1]
    (sources / "noise.scp").write_text(f"{noise}\ngone 48000 {tmp_path}/gone.wav\n")
    config = tmp_path / "simulation.yaml"
    config.write_text("reverberation: {probability: 0}\nwind: {probability: 0}\n")
    preprocess = UrgentDynamicPreprocessor(True, str(sources), str(config), chunk_s=0.4)
    for epoch in range(6):
        preprocess.set_epoch(epoch)
        assert np.isfinite(preprocess("s8_0", dry("s8_0", folder))["speech_mix"]).all()
    silent = {"speech_ref1": np.zeros(16000, np.float32), "fs": np.array([16000])}
    with pytest.raises(ValueError, match="hush: 8 attempts .* silent"):
        preprocess("hush", silent)
    with pytest.raises(ValueError, match="speech_gen cannot belong to noise that is drawn now"):
        preprocess("s8_0", {**dry("s8_0", folder), "speech_gen": np.zeros(10)})


class Utterances:
    """A dataset as ESPnet's: the preprocessor is called when an item is taken."""

    def __init__(self, preprocess, folder):
        self.preprocess, self.folder = preprocess, folder

    def __getitem__(self, uid):
        return uid, self.preprocess(uid, dry(uid, self.folder))


def collate(items):
    return [(uid, data["speech_mix"]) for uid, data in items]


def test_workers_and_a_restart_change_nothing(made):
    options, folder = made
    batches = [["s8_0", "s8_1"], ["s8_3"]]

    def epoch(number, workers):
        preprocess = UrgentDynamicPreprocessor(True, **options, chunk_s=0.4)
        factory = EpochIterFactory(
            Utterances(preprocess, folder), batches, num_workers=workers, collate_fn=collate
        )
        items = [item for batch in factory.build_iter(number) for item in batch]
        return dict(items)

    resumed, parallel = epoch(2, 0), epoch(2, 2)
    assert resumed.keys() == parallel.keys() == {"s8_0", "s8_1", "s8_3"}
    for uid, wav in resumed.items():
        np.testing.assert_array_equal(parallel[uid], wav)
    assert any(not np.array_equal(epoch(3, 0)[uid], wav) for uid, wav in resumed.items())


@pytest.mark.slow
def test_training_with_noise_of_its_own(rendered, tmp_path):
    import yaml

    conf = Path(__file__).parents[2] / "conf" / "mini" / "train_disc.yaml"
    config = yaml.safe_load(conf.read_text())
    config["separator_conf"].update(n_layers=1, lstm_hidden_units=8, emb_dim=8)
    config.update(max_epoch=1, num_iters_per_epoch=2, num_workers=1, preprocessor="urgent_dynamic")
    config["preprocessor_conf"] = {
        "sources": str(rendered / "data/train"),
        "simulation": str(rendered / "simulation.yaml"),
        "chunk_s": 1.0,
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    dry, valid = tmp_path / "dry", rendered / "dump/raw/train"
    sources = str(rendered / "data/train")
    assert main(["simulate", "--sources", sources, "--out", str(dry), "--lists_only"]) == 0
    run = ["train", "--branch", "disc", f"--config={tmp_path}/train.yaml", f"--valid={valid}"]
    run.append(f"--exp={tmp_path}/exp")
    assert main([*run, f"--train={dry}"]) == 0
    assert "1epoch results" in (tmp_path / "exp" / "train.log").read_text()
    shutil.rmtree(tmp_path / "exp")
    assert main([*run, f"--train={valid}"]) == 2, "a rendered set is no dry speech"
