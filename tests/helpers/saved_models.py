"""Random models on disk, as training leaves them, without ESPnet's task."""

import torch
import yaml

from espnet_hybridse.model.build import SpeechModel, build_parts
from espnet_hybridse.model.files import ModelFiles
from espnet_hybridse.model.loading import with_loaders
from espnet_hybridse.plugin import find_class

WINDOW_MS = {"ar_refiner": 40}
"""Of the separators that do not work on 20 ms."""


def save_model(folder, separator, conf, encoder="stft", weights="model.pth", **config):
    """Write `folder/{config.yaml,model.pth}` of a model with random weights; returns the folder."""
    size = 24 * WINDOW_MS.get(separator, 20)
    grid = {"n_fft": 2 * size, "hop_length": size, "default_fs": 48000}
    config = {
        "encoder": encoder,
        "encoder_conf": grid,
        "separator": separator,
        "separator_conf": conf,
        "decoder": encoder,
        "decoder_conf": grid,
        "criterions": [],
        "model_conf": {"loss_type": "mask_mse"},
        "preprocessor": "hybridse",
        "preprocessor_conf": {},
        "init": None,
        **config,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    built = with_loaders(ModelFiles.read(folder), find_class)
    model = SpeechModel(*build_parts(built, find_class))
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    torch.save(model.state_dict(), folder / weights)
    return folder
