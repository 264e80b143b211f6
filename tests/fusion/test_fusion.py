"""The fusion network and eq. (1)."""

from pathlib import Path

import pytest
import torch
import yaml

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.yaml_config import read_yaml
from espnet_hybridse.fusion.branches import generate
from espnet_hybridse.fusion.uses_fusion import USESFusion
from espnet_hybridse.nn.spectrum import change_rate, istft, stft

SIZES = {"channels": 8, "n_blocks": 1, "hidden": 8, "n_head": 2, "segment": 16, "n_memory": 3}


def build(**options):
    torch.manual_seed(0)
    fusion = USESFusion(None, **{**SIZES, **options}).eval()
    # Away from zero, and not so far that a float32 sigmoid is exactly 1.
    torch.nn.init.normal_(getattr(fusion.decoder, "out", fusion.decoder).weight, std=0.1)
    return fusion


def batch(fs=16000, seconds=0.5, seed=0):
    wavs = torch.randn(3, 1, int(fs * seconds), generator=torch.manual_seed(seed))
    noisy, disc, gen = wavs
    spectrum = stft(noisy, fs, 20)
    return spectrum, torch.tensor([spectrum.shape[1]]), {"speech_disc": disc, "speech_gen": gen}


@pytest.mark.parametrize("bands", [False, True])
def test_equal_branches_come_out_unchanged(bands):
    spectrum, ilens, waveforms = batch()
    waveforms["speech_gen"] = waveforms["speech_disc"]
    fused = build(bands=bands)(spectrum, ilens, waveforms)[0][0]
    torch.testing.assert_close(
        fused, stft(waveforms["speech_disc"], 16000, 20), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("bands", [False, True])
def test_output_lies_between_the_branches(bands):
    spectrum, ilens, waveforms = batch()
    [fused], _, others = build(bands=bands)(spectrum, ilens, waveforms)
    disc, gen = (stft(waveforms[f"speech_{name}"], 16000, 20) for name in ("disc", "gen"))
    mask = others["mask"]
    assert 0 < mask.min() and mask.max() < 1 and mask.std() > 1e-3
    torch.testing.assert_close(fused, mask * disc + (1 - mask) * gen)


@pytest.mark.parametrize("bands", [False, True])
def test_branches_are_told_apart(bands):
    spectrum, ilens, waveforms = batch()
    fusion = build(bands=bands)
    swapped = dict(zip(waveforms, reversed(waveforms.values()), strict=True))
    one, other = (fusion(spectrum, ilens, w)[2]["mask"] for w in (waveforms, swapped))
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize("fs", [24000, 48000])
def test_only_the_discriminative_branch_above_8_khz(fs, bands):
    spectrum, ilens, waveforms = batch(fs)
    mask = build(bands=bands)(spectrum, ilens, waveforms)[2]["mask"]
    assert (mask[..., 160:] == 1).all() and (mask[..., :160] < 1).all()
    assert (build(bands=bands, gen_fs=48000)(spectrum, ilens, waveforms)[2]["mask"] < 1).all()


@pytest.mark.parametrize("bands", [False, True])
def test_padding_does_not_change_valid_frames(bands):
    spectrum, ilens, waveforms = batch()
    short = 21
    padded = torch.cat([spectrum, spectrum])
    two = {name: torch.cat([wav, wav]) for name, wav in waveforms.items()}
    fusion = build(bands=bands)
    both = fusion(padded, torch.tensor([int(ilens), short]), two)[0][0]
    alone = fusion(spectrum[:, :short], torch.tensor([short]), waveforms)[0][0]
    torch.testing.assert_close(both[1:, :short], alone, atol=1e-5, rtol=1e-4)


def test_the_banded_mask_has_no_comb():
    """Equal spectra in all bins give a mask that moves slowly from bin to bin."""
    flat = torch.ones(1, 20, 161, dtype=torch.complex64)
    fusion = build(bands=True)
    with torch.no_grad():
        mask = fusion.mask({name: flat * (1 + k) for k, name in enumerate(fusion.inputs)})
    mask = mask[0, 10, 12:29].to(torch.complex64)
    for period in (2, 4):
        comb = torch.exp(2j * torch.pi * torch.arange(16) / period)
        assert ((mask[1:] - mask[:-1]) @ comb / 16).abs() < 0.01


@pytest.mark.parametrize("left, value", [("disc", 1.0), ("gen", 0.0)])
def test_one_branch_alone_is_the_output_and_said_once(left, value, caplog):
    spectrum, ilens, waveforms = batch()
    waveforms = {f"speech_{left}": waveforms[f"speech_{left}"]}
    fusion = build()
    for _ in range(2):
        [fused], _, others = fusion(spectrum, ilens, waveforms)
    torch.testing.assert_close(fused, stft(waveforms[f"speech_{left}"], 16000, 20))
    assert (others["mask"] == value).all()
    assert sum(f"the output is that of {left}" in r.message for r in caplog.records) == 1


def test_missing_branch_is_named():
    spectrum, ilens, waveforms = batch()
    del waveforms["speech_gen"]
    with pytest.raises(ValueError, match="no gen branch: set separator_conf: gen"):
        build().train()(spectrum, ilens, waveforms)
    with pytest.raises(ValueError, match="no disc branch: set separator_conf: disc"):
        build()(spectrum, ilens, {})


def test_safety_leaves_agreeing_branches_alone_and_takes_the_faithful_one_else():
    spectrum, ilens, waveforms = batch()
    plain, safe = build(), build(safety=1.0)
    waveforms["speech_gen"] = 1.5 * waveforms["speech_disc"]  # 3.5 dB: no contradiction
    torch.testing.assert_close(
        safe(spectrum, ilens, waveforms)[0][0], plain(spectrum, ilens, waveforms)[0][0]
    )
    waveforms["speech_gen"] = 0 * waveforms["speech_disc"]
    disc = stft(waveforms["speech_disc"], 16000, 20)
    torch.testing.assert_close(safe(spectrum, ilens, waveforms)[0][0], disc)
    safe.set_safety(0.5)
    half = (plain(spectrum, ilens, waveforms)[0][0] + disc) / 2
    torch.testing.assert_close(safe(spectrum, ilens, waveforms)[0][0], half)
    safe.set_safety(1.0, "noisy")
    torch.testing.assert_close(safe(spectrum, ilens, waveforms)[0][0], spectrum)


def test_safety_does_not_touch_the_band_that_only_one_branch_has():
    spectrum, ilens, waveforms = batch(48000)
    waveforms["speech_gen"] = 0 * waveforms["speech_gen"]
    fused = build(safety=1.0, safety_to="noisy")(spectrum, ilens, waveforms)[0][0]
    disc = stft(waveforms["speech_disc"], 48000, 20)
    # Four bins more than the edge: disagreement is judged over nine.
    torch.testing.assert_close(fused[..., 165:], disc[..., 165:])


@pytest.mark.parametrize("preset", ["small", "mini", "fast", "paper"])
def test_presets_are_light(preset):
    path = Path(__file__).parents[2] / "conf" / preset / "train_fusion.yaml"
    fusion = USESFusion(None, **read_yaml(path)["separator_conf"])
    assert sum(p.numel() for p in fusion.parameters()) < 1.5e6


def test_band_is_that_of_the_generative_branch(tmp_path):
    config = {"separator": "ar_refiner", "separator_conf": {"refiner_fs": "native"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert USESFusion(None, channels=8, n_blocks=1, hidden=8, n_head=2).gen_fs == 16000
    assert build(gen=str(tmp_path)).gen_fs == 48000
    with pytest.raises(ValueError, match="gen_fs=16000 Hz, but .* works at 48000 Hz"):
        build(gen=str(tmp_path), gen_fs=16000)


def test_wrong_safety_and_unfreeze_are_named():
    with pytest.raises(ValueError, match=r"safety=2.0 must lie in \[0, 1\]"):
        build(safety=2.0)
    with pytest.raises(ValueError, match="safety_to='gen' is not one of disc, noisy"):
        build(safety_to="gen")
    with pytest.raises(ValueError, match="directories are given, but gen is None"):
        build(unfreeze=["gen"])


class BandLimited:
    """A generative branch that changes nothing but, as the real one, keeps 8 kHz only."""

    def enhance(self, spectrum):
        kept = change_rate(spectrum, min(spectrum.shape[-1], 321), 1.0)
        return change_rate(kept, spectrum.shape[-1], 1.0)


@pytest.mark.parametrize("fs", RATES)
def test_an_impulse_stays_where_it_was_on_the_way_through_the_generative_grid(fs):
    samples = fs // 2
    wav = torch.zeros(1, samples)
    wav[0, samples // 3] = 1.0
    spectrum = generate(BandLimited(), stft(wav, fs, 20), fs)
    out = istft(spectrum, fs, 20, samples)[0]
    assert out.argmax() == samples // 3
    # Symmetric about the impulse: no fraction of a sample is lost either.
    around = out[samples // 3 - 20 : samples // 3 + 21]
    torch.testing.assert_close(around, around.flip(0), atol=0.01 * float(out.max()), rtol=0)
