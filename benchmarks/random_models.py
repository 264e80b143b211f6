"""Models of any training YAML with random weights: the same work as with trained ones."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from espnet_hybridse.model.build import BUILT_FROM


def build(config: Mapping[str, Any], folder: Path) -> nn.Module:
    """The ESPnet model of a training YAML with random weights, in eval mode.

    Args:
        config: read from the YAML.
        folder: where WavLM is made at the size of base+, if the model hears with it.
    """
    from espnet_hybridse.training.task import HybridEnhancementTask

    conf = {**vars(HybridEnhancementTask.get_parser().parse_args([])), **placed(config, folder)}
    torch.manual_seed(0)
    return HybridEnhancementTask.build_model(argparse.Namespace(**conf)).eval()


def placed(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`config` with a random WavLM in `folder` in the place of one to be downloaded."""
    conf = dict(config["separator_conf"])
    wavlm = config["separator"] == "ar_refiner" and conf.get("semantic", "wavlm") == "wavlm"
    if wavlm and not Path(str(conf.get("semantic_conf", {}).get("model"))).is_dir():
        from transformers import WavLMConfig, WavLMModel

        if not (folder / "config.json").is_file():
            torch.manual_seed(0)
            # The defaults of WavLMConfig are base+'s sizes.
            WavLMModel(WavLMConfig()).save_pretrained(folder)
        conf["semantic_conf"] = {**conf.get("semantic_conf", {}), "model": str(folder)}
    return {**config, "separator_conf": conf}


def write_hybrid(configs: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """The three experiments of a preset, as training would leave them, in `folder`.

    Args:
        configs: "disc", "gen", "hybrid" -> training YAML; each gets a folder of that name.
    """
    for name, config in configs.items():
        config = placed({**config, "criterions": []}, folder / "wavlm")
        if name == "hybrid":
            branches = {branch: str(folder / branch) for branch in ("disc", "gen")}
            config["separator_conf"] = {**config["separator_conf"], **branches}
        model = build(config, folder / "wavlm")
        (folder / name).mkdir()
        kept = {key: config.get(key) for key in BUILT_FROM}
        (folder / name / "config.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
        torch.save(model.state_dict(), folder / name / "model.pth")
