"""Models that others published load by one command: ESPnet's, and the URGENT 2026 baseline's."""

import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from helpers.saved_models import save_model
from helpers.tiny_models import FUSION

from espnet_hybridse import Enhancer
from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.generative.flow_bsrnn import FlowBSRNN
from espnet_hybridse.inference.options import piece_of
from espnet_hybridse.model.find import find_model
from espnet_hybridse.model.loading import load_model
from espnet_hybridse.plugin import find_class

TFGRIDNET = {"n_srcs": 1, "n_layers": 1, "lstm_hidden_units": 8, "emb_dim": 8}
CHANNELS, LAYERS = 8, 2


def noise(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=samples).astype(np.float32)


class Baseline(types.ModuleType):
    """The module of the baseline that its checkpoints name; here for the time of a `torch.save`."""

    def __init__(self, monkeypatch, name="baseline_code.config"):
        super().__init__(name)
        self.Config = type("Config", (), {"__module__": name})
        monkeypatch.setitem(sys.modules, name.split(".")[0], types.ModuleType(name.split(".")[0]))
        monkeypatch.setitem(sys.modules, name, self)


def write_checkpoint(path, state, monkeypatch, settings=(), **more):
    """A file as PyTorch Lightning writes it: weights, optimiser, settings."""
    with monkeypatch.context() as patch:
        cfg = Baseline(patch).Config()
        vars(cfg).update(settings)
        moments = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
        whole = {
            "epoch": 3,
            "global_step": 100,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": state,
            "loops": {"fit_loop": {"state_dict": {}}},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
            "optimizer_states": [moments],
            "lr_schedulers": [{"gamma": 0.85}],
            "hparams_name": "kwargs",
            "hyper_parameters": {"cfg": cfg},
        }
        torch.save({**whole, **more}, path)
    return path


def bsrnn_checkpoint(path, monkeypatch):
    from espnet2.enh.separator.bsrnn_separator import BSRNNSeparator

    torch.manual_seed(0)
    sizes = {"num_channels": CHANNELS, "num_layers": LAYERS, "target_fs": 48000}
    network = BSRNNSeparator(input_dim=481, num_spk=1, causal=False, **sizes)
    state = {f"se_model.bsrnn.{k}": v for k, v in network.state_dict().items()}
    return write_checkpoint(path, state, monkeypatch), network.eval()


def flow_checkpoint(path, monkeypatch, average=True):
    torch.manual_seed(0)
    network = FlowBSRNN(769, CHANNELS, LAYERS, steps=2)
    state = {f"dnn.{name}": value for name, value in network.state_dict().items()}
    shadow = [torch.randn_like(value) * 0.1 for value in network.parameters()]
    ema = {"decay": 0.999, "num_updates": 5, "shadow_params": shadow, "collected_params": None}
    more = {"ema": ema} if average else {}
    return write_checkpoint(path, state, monkeypatch, {"T_rev": 0.9}, **more)


@pytest.mark.slow
def test_the_baseline_s_bsrnn_is_that_of_espnet(tmp_path, monkeypatch):
    path, network = bsrnn_checkpoint(tmp_path / "bsrnn.ckpt", monkeypatch)
    loaded = load_model(find_model(path), find_class)
    expected, ours = network.state_dict(), loaded.model.separator.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in ours.items())
    assert "baseline_code" not in sys.modules
    soundfile.write(tmp_path / "in.wav", noise(3203), 16000)
    assert main(["enhance", f"{tmp_path}/in.wav", f"{tmp_path}/out.wav", f"--model={path}"]) == 0
    assert soundfile.info(tmp_path / "out.wav").frames == 3203
    enhancer = Enhancer.from_pretrained(path, gate="off")
    for fs in RATES:
        wav = noise(fs // 5 + 3)
        out = enhancer(wav, fs)
        assert out.shape == wav.shape and np.isfinite(out).all() and np.abs(out).max() > 1e-4


@pytest.mark.slow
def test_the_baseline_s_flow_takes_the_average_of_its_weights(tmp_path, monkeypatch):
    path = flow_checkpoint(tmp_path / "flow_bsrnn.ckpt", monkeypatch)
    plain = flow_checkpoint(tmp_path / "plain.ckpt", monkeypatch, average=False)
    separator, other = (
        load_model(find_model(file), find_class).model.separator for file in (path, plain)
    )
    assert (separator.start, separator.steps) == (0.9, 15)
    assert not torch.equal(separator.condition_fc.weight, other.condition_fc.weight)
    enhancer = Enhancer.from_pretrained(path, gate="off")
    wav = noise(3000)
    out = enhancer(wav, 16000)
    assert np.isfinite(out).all() and np.abs(out).max() > 1e-4
    np.testing.assert_array_equal(enhancer(wav, 16000), out)
    # The noise at the start of the flow depends on nothing but the seed.
    together = Enhancer.from_pretrained(path, batch=2, gate="off").many(
        [noise(2000, 1), wav], 16000
    )
    np.testing.assert_allclose(together[1], out, atol=1e-5)


@pytest.mark.slow
def test_a_published_checkpoint_is_a_branch_and_a_third_input(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, _ = bsrnn_checkpoint(tmp_path / "bsrnn.ckpt", monkeypatch)
    options = {**FUSION, "disc": "../bsrnn.ckpt", "third": "../bsrnn.ckpt"}
    disc = save_model(tmp_path / "gen", "tfgridnetv3", TFGRIDNET)
    hybrid = save_model(tmp_path / "hybrid", "uses_fusion", {**options, "gen": "../gen"})
    wav = noise(4000)
    expected = Enhancer.from_pretrained(hybrid, gate="off")(wav, 16000)
    models = [f"--disc={path}", f"--gen={disc}", f"--hybrid={hybrid}", f"--tokens={tmp_path}/none"]
    assert main(["pack", *models, f"--out={tmp_path}/packed", f"--zip={tmp_path}/zips"]) == 0
    path.unlink()
    for form in ("packed", "zips/hybrid.zip"):
        again = Enhancer.from_pretrained(tmp_path / form, branch="hybrid", gate="off")(wav, 16000)
        np.testing.assert_array_equal(again, expected)
    # The optimiser stayed behind.
    assert set(torch.load(tmp_path / "packed/disc/model.pth")) <= set(
        load_model(tmp_path / "packed/disc", find_class).model.state_dict()
    )


@pytest.mark.parametrize("harm", ["code", "other", "damaged"])
def test_a_checkpoint_that_is_none_runs_nothing(tmp_path, monkeypatch, harm):
    path = tmp_path / "x.ckpt"
    if harm == "code":

        class Harm:
            def __reduce__(self):
                return (Path.mkdir, (tmp_path / "executed",))

        torch.save({"state_dict": {"dnn.x": torch.zeros(1)}, "hyper_parameters": Harm()}, path)
        message = "nothing in it was executed"
    elif harm == "other":
        torch.save({"state_dict": {"model.x": torch.zeros(1)}}, path)
        message = r"expected weights called se_model.bsrnn.\* or dnn.\*"
    else:
        path.write_bytes(b"PK\3\4 no checkpoint")
        message = "or a damaged one"
    with pytest.raises(ValueError, match=message):
        Enhancer.from_pretrained(path, gate="off")
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def espnet_hub(tmp_path):
    """A multi-rate TF-GridNet as ESPnet uploads one: meta.yaml, and an experiment below exp/."""
    exp = tmp_path / "hub/exp/enh_train_tfgridnet"
    chunk = {"iterator_type": "chunk", "chunk_length": 200, "chunk_default_fs": 50}
    model_conf = {"normalize_variance_per_ch": True, "categories": ["1ch_8k", "1ch_48k"]}
    torch.manual_seed(0)
    save_model(
        exp,
        "tfgridnetv3",
        TFGRIDNET,
        weights="70epoch.pth",
        preprocessor="enh",
        model_conf=model_conf,
        **chunk,
    )
    names = {"config": "config.yaml", "weights": "70epoch.pth"}
    inside = {key: f"exp/enh_train_tfgridnet/{name}" for key, name in names.items()}
    meta = {
        "espnet": "202402",
        "files": {"model_file": inside["weights"]},
        "yaml_files": {"train_config": inside["config"]},
    }
    (tmp_path / "hub/meta.yaml").write_text(yaml.safe_dump(meta))
    (tmp_path / "hub/README.md").write_text("---\ntags: [espnet]\n---\n")
    # As in a hub's cache, the files are links to blobs that lie elsewhere.
    for path in [*exp.glob("*")]:
        blob = tmp_path / "blobs" / path.name
        blob.parent.mkdir(exist_ok=True)
        shutil.move(path, blob)
        path.symlink_to(blob)
    return tmp_path / "hub"


def test_espnet_s_hub_folder_gives_what_espnet_gives(espnet_hub):
    from espnet2.bin.enh_inference import SeparateSpeech

    exp = espnet_hub / "exp/enh_train_tfgridnet"
    stock = SeparateSpeech(exp / "config.yaml", exp / "70epoch.pth")
    enhancer = Enhancer.from_pretrained(espnet_hub, gate="off")
    assert enhancer.segment_s == 4.0, "the crops of ESPnet's chunk iterator"
    for fs in RATES:
        wav = noise(fs // 50 * 11, seed=fs)
        [theirs] = stock(wav[None], fs=fs)
        # The tail of stock ESPnet's last frame is divided by almost nothing.
        keep = len(wav) - fs // 50
        np.testing.assert_allclose(enhancer(wav, fs)[:keep], theirs[0][:keep], atol=2e-5)


def test_an_experiment_without_a_list_of_its_files_is_found(espnet_hub):
    (espnet_hub / "meta.yaml").unlink()
    assert find_model(espnet_hub).weights.name == "70epoch.pth"


@pytest.mark.parametrize(
    "config, seconds",
    [
        ({}, 10.0),
        ({"preprocessor_conf": {"chunk_s": 3.0}}, 3.0),
        ({"preprocessor_conf": {"chunk_s": None}}, 10.0),
        ({"iterator_type": "chunk", "chunk_length": 200, "chunk_default_fs": 50}, 4.0),
        (
            {
                "iterator_type": "chunk",
                "chunk_length": "16000-80000",
                "encoder_conf": {"default_fs": 16000},
            },
            5.0,
        ),
        ({"iterator_type": "sequence", "chunk_length": 500}, 10.0),
    ],
)
def test_a_piece_is_what_training_cut(config, seconds):
    assert piece_of(config) == seconds
