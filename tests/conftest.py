"""A tiny real corpus: three spoken sentences, generated noise, simulated by the package itself."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_models import SPEECH_TRANSFORMER

# Tests share the machine with each other's worker processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SPEECH = Path(__file__).parent / "data" / "speech"
TEXT = {
    "goforward": "go forward ten meters",
    "numbers": "one two three four five six",
    "something": "go somewhere and do something",
}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Folder with data/train: source lists of three utterances and two noises, at 16 kHz."""
    import soundfile

    root = tmp_path_factory.mktemp("corpus")
    data = root / "data" / "train"
    data.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("white", "hum"):
        noise = rng.normal(size=80000) * (1 if name == "white" else np.hanning(80000))
        soundfile.write(root / f"{name}.flac", 0.1 * noise / np.abs(noise).max(), 16000)
    lists = {
        "speech.scp": [f"{name} 16000 {SPEECH / name}.flac" for name in TEXT],
        "noise.scp": [f"{name} 16000 {root / name}.flac" for name in ("white", "hum")],
        "text": [f"{name} {words}" for name, words in TEXT.items()],
        "utt2lang": [f"{name} en" for name in TEXT],
        "utt2spk": [f"{name} {name}" for name in TEXT],
    }
    for name, lines in lists.items():
        (data / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def rendered(corpus):
    """The corpus with dump/raw/train: eight simulated utterances at several rates."""
    from espnet_hybridse.cli.main import main

    config = corpus / "simulation.yaml"
    config.write_text(
        "rates: {8000: 1, 16000: 2, 22050: 1}\nallow_upsampling: true\n"
        "wind: {probability: 0}\nreverberation: {probability: 0}\n"
    )
    out = corpus / "dump" / "raw" / "train"
    code = main(
        ["simulate", "--sources", str(corpus / "data/train"), "--out", str(out), "--num", "8"]
        + ["--config", str(config)]
    )
    assert code == 0
    return corpus


@pytest.fixture(scope="session")
def wavlm_dir(tmp_path_factory):
    """A tiny random WavLM on disk, loaded through the same path as the published ones."""
    import torch
    from transformers import WavLMConfig, WavLMModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wavlm")
    config = WavLMConfig(**SPEECH_TRANSFORMER)
    WavLMModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def xcodec_dir(tmp_path_factory):
    """A tiny random X-Codec on disk, with the published one's rate, hop and number of tokens."""
    import torch
    from transformers import DacConfig, HubertConfig, XcodecConfig, XcodecModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("xcodec")
    model = XcodecModel(
        XcodecConfig(
            acoustic_model_config=DacConfig(
                encoder_hidden_size=4,
                decoder_hidden_size=32,
                downsampling_ratios=[8, 5, 4, 2],
                upsampling_ratios=[8, 5, 4, 2],
                hidden_size=64,
            ),
            semantic_model_config=HubertConfig(**SPEECH_TRANSFORMER),
            codebook_size=1024,
        )
    )
    for quantizer in model.quantizer.quantizers:
        torch.nn.init.normal_(quantizer.codebook.embed)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Tiny random models disc/, gen/ (a second disc) and hybrid/, as pack leaves them."""
    import torch
    from helpers.saved_models import save_model

    root = tmp_path_factory.mktemp("models")
    disc = {"n_layers": 1, "lstm_hidden_units": 8, "emb_dim": 8, "emb_ks": 2, "emb_hs": 2}
    disc.update(attn_qk_output_channel=2, freq_stride=4, rms_norm=True, output="residual")
    hybrid = {"channels": 8, "n_blocks": 1, "hidden": 8, "n_head": 2, "n_memory": 2}
    hybrid.update(disc="../disc", gen="../gen")
    torch.manual_seed(0)
    save_model(root / "disc", "tfgridnet_sfi", disc)
    save_model(root / "gen", "tfgridnet_sfi", disc)
    save_model(root / "hybrid", "uses_fusion", hybrid)
    return root
