"""Loading a trained model from an experiment directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Union

import torch
import yaml

WEIGHTS = ("valid.loss.ave.pth", "valid.loss.best.pth", "model.pth", "latest.pth")
FUSED = ("disc", "gen", "third")
"""Keys of a fusion's options that name the folders of other models."""
BRANCHES = {"tfgridnet_sfi": "disc", "ar_refiner": "gen", "uses_fusion": "hybrid"}


@dataclass
class LoadedModel:
    """A trained model in eval mode and the configuration it was built from."""

    model: torch.nn.Module
    config: dict
    weights: Path

    @property
    def branch(self) -> str:
        """disc, gen, hybrid, or the separator's own name."""
        return BRANCHES.get(self.config["separator"], self.config["separator"])


def find_weights(directory: Path) -> Path:
    """The weights to use: the average of the best epochs, else the best, else the last."""
    for name in WEIGHTS:
        if (directory / name).is_file():
            return directory / name
    raise FileNotFoundError(
        f"{directory}: no trained weights ({', '.join(WEIGHTS)}); train the model first"
    )


def weight_files(directory: Path) -> List[Path]:
    """Every file whose numbers decide the output: a fusion's own weights and its branches'."""
    files = [find_weights(directory)]
    config = read_config(directory / "config.yaml")
    if config["separator"] == "uses_fusion":
        place_branches(config, directory)
        for name in FUSED:
            if config["separator_conf"].get(name):
                files += weight_files(Path(config["separator_conf"][name]))
    return files


def read_config(path: Path) -> dict:
    """The configuration that training wrote beside the weights."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {path.parent} is not a trained model")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def load_model(
    directory: Union[str, Path],
    weights: Optional[Path] = None,
    config_file: str = "config.yaml",
) -> LoadedModel:
    """Build the model of `directory/config.yaml` and fill it.

    Args:
        directory: of an experiment.
        weights: file to use instead of the one :func:`find_weights` finds.
        config_file: its name in `directory`.

    Raises:
        FileNotFoundError: there is no config or no weights.
        ValueError: weights and model disagree; the message names the keys.
    """
    import argparse

    from espnet_hybridse.task import HybridEnhancementTask

    directory = Path(directory)
    config = read_config(directory / config_file)
    weights = weights or find_weights(directory)
    place_branches(config, directory)
    # Losses may need weights of their own, such as a quality network's, that inference does not.
    built = argparse.Namespace(**{**config, "criterions": []})
    model = HybridEnhancementTask.build_model(built)
    state = torch.load(weights, map_location="cpu", weights_only=True)
    missing, extra = model.load_state_dict(state, strict=False)
    if missing or extra:
        raise ValueError(
            f"{weights} does not fit {directory / config_file}: missing {missing[:3]}, "
            f"extra {extra[:3]} ({len(missing)} and {len(extra)} keys); take both from the same "
            "experiment"
        )
    return LoadedModel(model.eval(), config, weights)


def place_branches(config: dict, directory: Path) -> None:
    """Resolve a fusion's branch directories, written relative to its own or to where we run.

    Raises:
        FileNotFoundError: a branch is in neither place.
    """
    if config["separator"] != "uses_fusion":
        return
    conf = config["separator_conf"]
    found = found_branches(conf, directory)
    for name in FUSED:
        if conf.get(name) and name not in found:
            raise FileNotFoundError(
                f"{directory}/config.yaml names the {name} branch {conf[name]!r}, found neither "
                f"beside it nor here; put the trained branch there"
            )
    conf.update(found)


def found_branches(conf: dict, directory: Path) -> dict:
    """The branch directories in a fusion's options that exist, from `directory` or from here."""
    found = {}
    for name in FUSED:
        if conf.get(name):
            for base in (directory / conf[name], Path(conf[name])):
                if (base / "config.yaml").is_file():
                    found.setdefault(name, str(base))
    return found
