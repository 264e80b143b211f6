"""Any separator of ESPnet as the discriminative branch, or as a third input of the fusion."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.training_runs import make_run, train_here

from benchmarks.disc_systems import BASELINE
from espnet_hybridse import Enhancer
from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.assets import AssetCorrupt
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.yaml_config import read_yaml
from espnet_hybridse.fusion.branches import OwnGrid, as_loader, is_on_grid, load_separator
from espnet_hybridse.fusion.uses_fusion import USESFusion
from espnet_hybridse.nn.spectrum import stft
from espnet_hybridse.training.task import HybridEnhancementTask

CONF = Path(__file__).parents[2] / "conf"
OTHERS = {
    "bsrnn": {"num_spk": 1, "num_channels": 8, "num_layers": 1, "target_fs": 48000},
    "tfgridnetv3": {"n_srcs": 1, "n_layers": 1, "lstm_hidden_units": 8, "emb_dim": 8},
}
FOLDERS = {"disc": "bsrnn", "gen": "tfgridnetv3", "third": "own"}
FUSION = {"channels": 8, "n_blocks": 1, "hidden": 8, "n_head": 2, "segment": 16, "n_memory": 2}


class Silence(torch.nn.Module):
    """A third system that hears nothing."""

    def forward(self, spectrum, *_):
        return [0 * spectrum], None, {}


def other_run(rendered, exp, separator, **changes):
    """A run of the mini preset with another separator in its place."""
    run = make_run(rendered, exp, num_iters_per_epoch=2, unused_parameters=True, **changes)
    config = {**read_yaml(run.config), "separator": separator, "separator_conf": OTHERS[separator]}
    run.config.write_text(yaml.safe_dump(config))
    return run


@pytest.fixture(scope="module")
def trained(rendered, tmp_path_factory):
    """Folder with bsrnn, tfgridnetv3, and tfgridnetv3 on the grid of its own: 32/16 ms."""
    root = tmp_path_factory.mktemp("others")
    for separator in OTHERS:
        train_here(other_run(rendered, root / separator, separator))
    grid = {"n_fft": 1536, "hop_length": 768, "default_fs": 48000}
    own = other_run(rendered, root / "own", "tfgridnetv3", encoder_conf=grid, decoder_conf=grid)
    train_here(own)
    return root


def test_the_baseline_has_the_challenge_s_sizes():
    config = read_yaml(CONF / "paper/train_bsrnn.yaml")
    assert BASELINE.items() <= config["separator_conf"].items()
    config = {"init": None, "model_conf": {}, **config}
    args = HybridEnhancementTask.get_default_config() | config
    model = HybridEnhancementTask.build_model(argparse.Namespace(**args))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(38, abs=2)
    assert is_on_grid(config)


@pytest.mark.slow
@pytest.mark.parametrize("separator", [*OTHERS, "own"])
def test_any_separator_enhances_at_all_rates(trained, separator):
    enhancer = Enhancer.from_pretrained(trained / separator, gate="off")
    wav = 0.1 * np.random.default_rng(0).normal(size=6000).astype(np.float32)
    for fs in RATES:
        out = enhancer(wav, fs)
        assert out.shape == wav.shape and np.isfinite(out).all() and np.abs(out).max() > 1e-4


def test_a_separator_of_several_speakers_is_refused(rendered, tmp_path):
    run = other_run(rendered, tmp_path, "tfgridnetv3")
    config = read_yaml(run.config)
    del config["separator_conf"]["n_srcs"]
    run.config.write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match="tfgridnetv3 gives 2 signals, .*n_srcs: 1 for"):
        train_here(run)


def test_a_branch_on_another_grid_goes_through_its_own(trained):
    assert not isinstance(load_separator(as_loader(trained / "bsrnn")), OwnGrid)
    branch = load_separator(as_loader(trained / "own"))
    assert isinstance(branch, OwnGrid)
    wav = 0.1 * torch.randn(1, 16000, generator=torch.manual_seed(0))
    spectrum = stft(wav, 16000, 20)
    with torch.no_grad():
        [heard], _, _ = branch(spectrum, torch.tensor([spectrum.shape[1]]), {})
    # In one piece: by itself it takes the half seconds that it was trained on.
    enhancer = Enhancer.from_pretrained(trained / "own", gate="off", segment_s=10.0)
    whole = enhancer(wav[0].numpy(), 16000)
    expected = stft(torch.from_numpy(whole)[None], 16000, 20)
    # The last frame alone knows of the padding.
    torch.testing.assert_close(heard[:, :-2], expected[:, :-2], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("third", [*OTHERS, "own"])
def test_the_mask_hears_the_third_system(trained, third):
    torch.manual_seed(0)
    fusion = USESFusion(None, **FUSION, third=str(trained / third)).eval()
    torch.nn.init.normal_(fusion.decoder.weight, std=0.3)
    noisy, disc, gen = 0.1 * torch.randn(3, 1, 16000, generator=torch.manual_seed(1))
    spectrum = stft(noisy, 16000, 20)
    waveforms = {"speech_disc": disc, "speech_gen": gen}
    frames = torch.tensor([spectrum.shape[1]])
    with torch.no_grad():
        [fused], _, others = fusion(spectrum, frames, waveforms)
        fusion.third.separator = Silence()
        deaf = fusion(spectrum, frames, waveforms)[2]["mask"]
    mask = others["mask"]
    parts = [stft(wav, 16000, 20) for wav in (disc, gen)]
    torch.testing.assert_close(fused, mask * parts[0] + (1 - mask) * parts[1])
    assert (mask - deaf).abs().max() > 1e-3
    assert not any("third" in name for name in fusion.state_dict()), "it is not saved again"


def train_fusion(rendered, exp, folders):
    """A fusion of these systems' folders, given as an experiment names them."""
    config = yaml.safe_load((CONF / "mini/train_fusion.yaml").read_text())
    config["separator_conf"].update(FUSION)
    config.update({"max_epoch": 1, "num_iters_per_epoch": 2, "num_workers": 0, "batch_size": 2})
    config["preprocessor_conf"] = {"chunk_s": 0.5}
    exp.mkdir()
    path = exp / "fusion.yaml"
    path.write_text(yaml.safe_dump(config))
    sets = [f"--{name}={rendered}/dump/raw/train" for name in ("train", "valid")]
    command = ["train", "--branch=hybrid", f"--config={path}", f"--exp={exp}", *sets]
    extra = [x for k, v in folders.items() for x in ("--separator_conf", f"{k}={v}")]
    assert main([*command, "--on_the_fly", "--", *extra]) == 0


@pytest.mark.slow
def test_a_fusion_with_other_systems_trains_and_travels(rendered, trained):
    exp = trained / "hybrid"
    train_fusion(rendered, exp, {name: f"../{folder}" for name, folder in FOLDERS.items()})
    wav = 0.1 * np.random.default_rng(0).normal(size=8000).astype(np.float32)
    before = Enhancer.from_pretrained(exp, gate="off")(wav, 16000)
    moved = trained.rename(trained.with_name("moved"))
    try:
        after = Enhancer.from_pretrained(moved / "hybrid", gate="off")(wav, 16000)
    finally:
        moved.rename(trained)
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.slow
def test_a_third_system_is_packed_with_its_hybrid(rendered, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exp = tmp_path / "hybrid"
    train_fusion(rendered, exp, {name: trained / folder for name, folder in FOLDERS.items()})
    wav = 0.1 * np.random.default_rng(0).normal(size=8000).astype(np.float32)
    expected = Enhancer.from_pretrained(exp, gate="off")(wav, 16000)
    arguments = [f"--disc={trained / 'bsrnn'}", f"--gen={trained / 'tfgridnetv3'}"]
    arguments += [f"--hybrid={exp}", f"--tokens={tmp_path / 'none'}", f"--out={tmp_path}/out"]
    arguments += [f"--zip={tmp_path}/zips", f"--hub={tmp_path}/hub"]
    assert main(["pack", *arguments]) == 0
    assert "| third |" in (tmp_path / "out/README.md").read_text()
    hidden = trained.rename(trained.with_name("hidden"))
    try:
        for source in ("out", "zips/hybrid.zip", "hub"):
            enhanced = Enhancer.from_pretrained(tmp_path / source, branch="hybrid", gate="off")(
                wav, 16000
            )
            np.testing.assert_array_equal(enhanced, expected)
        # What was changed on the way is refused before anything is enhanced.
        for path in ((tmp_path / "out/third/model.pth"), (tmp_path / "hub/third/config.yaml")):
            path.write_bytes(path.read_bytes()[:-1] + b"#")
            with pytest.raises(AssetCorrupt, match=f"third/{path.name}: expected sha256"):
                Enhancer.from_pretrained(path.parents[1], branch="hybrid", gate="off")
        assert main(["pack", *arguments]) == 2
        assert "names a third system" in capsys.readouterr().err
    finally:
        hidden.rename(trained)
