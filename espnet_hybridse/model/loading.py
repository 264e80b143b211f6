"""Loading a trained model from an experiment directory."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

import torch
import yaml

from espnet_hybridse.fileio.assets import check_file

WEIGHTS = (
    "valid.loss.ave.pth",
    "valid.loss.best.pth",
    "model.safetensors",
    "model.pth",
    "latest.pth",
)
BUILT_FROM = ("encoder", "encoder_conf", "separator", "separator_conf", "decoder", "decoder_conf")
HASHES = "hashes.json"
"""sha256 of every file of a packed model, `name: digest`, beside or above it."""
FUSED = ("disc", "gen", "third")
"""Keys of a fusion's options that name the folders of other models."""
BRANCHES = {
    "tfgridnet_sfi": "disc",
    "tfgridnet_bands": "disc",
    "ar_refiner": "gen",
    "uses_fusion": "hybrid",
}


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
    """The configuration that training wrote beside the weights; YAML's tags are refused.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no configuration of a model.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {path.parent} is not a trained model")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not a plain YAML file ({problem})") from error
    check_keys(config, ("separator", "separator_conf"), path)
    return config


def check_keys(config: object, needed: Sequence[str], path: Path) -> None:
    """Raise ValueError unless the configuration read from `path` has these keys."""
    missing = [key for key in needed if not isinstance(config, dict) or key not in config]
    if missing:
        raise ValueError(f"{path}: no configuration of a model: {', '.join(missing)} missing")


def read_weights(path: Path) -> Dict[str, torch.Tensor]:
    """The tensors of a `.pth` or `.safetensors` file; no object is unpickled, no code run.

    Raises:
        ValueError: the file holds anything else, or is damaged.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise many types
        problem = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: no file of weights, or a damaged one; nothing in it was executed ({problem})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"{path}: holds {type(state).__name__}, expected names and tensors")
    return state


def check_hashes(directory: Path) -> None:
    """Compare the files of a packed model with the sha256 it travels with, if it has any.

    Raises:
        AssetCorrupt: a file is missing or has other bytes.
        ValueError: the list itself is damaged.
    """
    directory = directory.resolve()
    for root in (directory, directory.parent):
        if not (root / HASHES).is_file():
            continue
        try:
            hashes = json.loads((root / HASHES).read_text(encoding="utf-8"))
            names = {name: str(digest) for name, digest in hashes.items()}
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{root / HASHES}: not a list of hashes ({error})") from error
        for name, digest in names.items():
            if (root / name).parent == directory:
                check_file(root / name, digest, "get the model again, it is not what was packed")
        return


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
        ValueError: weights and model disagree; the message names the keys. Or one of them is no
            configuration, or no file of weights.
        AssetCorrupt: a packed model whose bytes have changed.
    """
    import argparse

    from espnet_hybridse.training.task import HybridEnhancementTask

    directory = Path(directory)
    config = read_config(directory / config_file)
    check_keys(config, BUILT_FROM, directory / config_file)
    weights = weights or find_weights(directory)
    check_hashes(directory)
    place_branches(config, directory)
    # Losses may need weights of their own, such as a quality network's, that inference does not.
    defaults = {"model_conf": {}, "init": None, "preprocessor": None, "preprocessor_conf": {}}
    built = argparse.Namespace(**{**defaults, **config, "criterions": []})
    try:
        model = HybridEnhancementTask.build_model(built)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{directory / config_file}: builds no model ({error})") from error
    state = read_weights(weights)
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
                "beside it nor here; put the trained branch there, take the other one with "
                f"--branch, or write '{name}: null' to run the hybrid without it"
            )
    conf.update(found)


def found_branches(conf: dict, directory: Path) -> dict:
    """The branch directories in a fusion's options that exist, from `directory` or from here."""
    found = {}
    for name in FUSED:
        if conf.get(name):
            for base in (directory / conf[name], directory.parent / conf[name], Path(conf[name])):
                # ESPnet's unpack turns names of files, not of folders, into where they now lie.
                base = base.parent if base.name == "config.yaml" else base
                if (base / "config.yaml").is_file():
                    found.setdefault(name, str(base))
    return found
