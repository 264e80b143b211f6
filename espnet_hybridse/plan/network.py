"""Parameters and multiply-accumulates of the model that a training YAML describes."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Dict, Mapping

import torch
from torch import nn

from espnet_hybridse.audio import RATES
from espnet_hybridse.bench import random_models
from espnet_hybridse.bench.macs import count
from espnet_hybridse.config import ConfigError
from espnet_hybridse.spectrum import WINDOW_MS

COUNT_S = 2.0
"""Audio over which multiply-accumulates are counted."""
SHAPES = ("encoder", "encoder_conf", "separator", "separator_conf", "decoder", "decoder_conf")
"""Keys of a config that decide sizes."""
SEPARATORS = {"gen": "ar_refiner", "fusion": "uses_fusion"}


@dataclass(frozen=True)
class Counts:
    """What was counted of one network.

    Attributes:
        digest: of the config's SHAPES.
        separator: its name.
        trained, frozen: parameters; frozen ones are those of a speech encoder.
        gmac_s: rate in Hz -> 10**9 multiply-accumulates of all parts for a second of audio.
        frozen_gmac_s: those of the frozen encoder alone, which has no backward pass.
        lm_parameters: of the language model, read for every token that is decoded.
    """

    digest: str
    separator: str
    trained: int
    frozen: int
    gmac_s: Mapping[int, float]
    frozen_gmac_s: float = 0.0
    lm_parameters: int = 0

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "gmac_s": {str(fs): value for fs, value in self.gmac_s.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Counts":
        """Of :meth:`as_dict`."""
        gmac_s = {int(fs): value for fs, value in values["gmac_s"].items()}
        return cls(**{**values, "gmac_s": gmac_s})


def digest_of(config: Mapping[str, Any]) -> str:
    """What makes two configs' networks the same: the classes and their options."""
    kept = {key: config.get(key) for key in SHAPES}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_part(part: str, config: Mapping[str, Any], where: str) -> None:
    """Refuse a config in the place of another part's.

    Raises:
        ConfigError: naming both.
    """
    separator = config.get("separator")
    wanted = SEPARATORS.get(part)
    own = wanted is None and separator not in SEPARATORS.values()
    if separator is None or not (separator == wanted or own):
        raise ConfigError(
            f"{where}: separator {separator!r}, which is not that of the {part} training; "
            f"expected {wanted or 'any enhancing separator, such as tfgridnet_sfi'}"
        )


def build(config: Mapping[str, Any], device: torch.device) -> nn.Module:
    """The ESPnet model of a training YAML with random weights.

    A WavLM that is no folder here is made at base+'s size: nothing is fetched to be counted. A
    fusion has no branches, as when it is trained on what stage 7 left: they are planned apart.
    """
    conf = dict(config.get("separator_conf") or {})
    if config["separator"] == "uses_fusion":
        conf.update(disc=None, gen=None)
    logging.disable(logging.WARNING)  # BSRNN lists its bands, SQA that it is off
    try:
        with TemporaryDirectory() as folder:
            return random_models.build({**config, "separator_conf": conf}, Path(folder)).to(device)
    finally:
        logging.disable(logging.NOTSET)


def count_network(config: Mapping[str, Any]) -> Counts:
    """Count a training YAML's network; on CPU."""
    model = build(config, torch.device("cpu")).eval()
    separator = model.separator
    semantic = getattr(separator, "semantic", None)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in semantic.parameters()) if semantic is not None else 0
    language_model = getattr(separator, "lm", None)
    lm = sum(p.numel() for p in language_model.parameters()) if language_model is not None else 0
    frozen_macs = 0
    if semantic is not None:
        frozen_macs = count(semantic, _encode, fake=False)[1]
    gmac_s = {}
    # A branch with a rate of its own works alike at all of them.
    own_rate = semantic is not None and not separator.native
    for fs in RATES[1:2] if own_rate else RATES:
        macs = count(model, _call(config, fs), fake=semantic is None)[1]
        gmac_s[fs] = macs / 1e9 / COUNT_S
    if own_rate:
        gmac_s = {fs: gmac_s[RATES[1]] for fs in RATES}
    return Counts(
        digest=digest_of(config),
        separator=config["separator"],
        trained=trained,
        frozen=frozen,
        gmac_s=gmac_s,
        frozen_gmac_s=frozen_macs / 1e9 / COUNT_S,
        lm_parameters=lm,
    )


def _call(config: Mapping[str, Any], fs: int) -> Callable[[nn.Module], object]:
    """Calls a model on COUNT_S of noise at `fs` Hz, on the grid of its encoder.

    A generative branch is given its tokens: a decoder with a cache does the same work, one token
    after the other.
    """
    conf, separator = config.get("encoder_conf") or {}, config["separator"]
    if separator in SEPARATORS.values():  # fixed by the network
        n_fft = WINDOW_MS["gen" if separator == "ar_refiner" else "disc"] * fs // 1000
        hop = n_fft // 2
    else:
        own_fs = conf.get("default_fs", 16000)
        n_fft = conf.get("n_fft", 512) * fs // own_fs
        hop = conf.get("hop_length", 128) * fs // own_fs
    shape = (1, 1 + round(COUNT_S * fs) // hop, n_fft // 2 + 1)
    # Made here, where tensors have values: networks look at lengths.
    frames = torch.full((1,), shape[1])
    tokens = torch.zeros(1, shape[1], dtype=torch.long)

    def run(model: nn.Module) -> object:
        spectrum = torch.randn(*shape, dtype=torch.complex64)
        if separator == "uses_fusion":
            return model.separator.mask({name: spectrum for name in model.separator.inputs})
        additional = {"fs": fs}
        if separator == "ar_refiner":
            additional.update(tokens=tokens, tokens_lengths=frames)
        return model.separator(spectrum, frames, additional)

    return run


def _encode(semantic: nn.Module) -> None:
    wav = 0.1 * torch.randn(1, round(COUNT_S * 16000))
    semantic(wav, torch.full((1,), wav.shape[1]))
