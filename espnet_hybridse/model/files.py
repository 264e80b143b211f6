"""Where the files of a trained model stand: configuration, weights, and a hybrid's branches."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from espnet_hybridse.fileio.assets import check_file
from espnet_hybridse.model.branch import FUSED, HYBRID, Branch, branch_of
from espnet_hybridse.model.published import SUFFIX, published_config

CONFIG = "config.yaml"
WEIGHTS = (
    "valid.loss.ave.pth",
    "valid.loss.best.pth",
    "model.safetensors",
    "model.pth",
    "latest.pth",
)
WEIGHTS_STAMP = ".weights"
"""File beside the outputs of a list or folder that names the weights and settings behind them."""
HASHES = "hashes.json"
"""sha256 of every file of a packed model, `name: digest`, beside or above it."""


@dataclass(frozen=True)
class ModelFiles:
    """One trained model on disk, found once and handed down.

    Attributes:
        config_file: its configuration; the folder of it is where relative names begin.
        config: what that says.
        weights: file of its weights; None where there is none (yet).
        parts: of a hybrid, the models that its fusion runs, by their option (disc, gen, third).
        missing: of a hybrid, the options whose model is not where they say.
    """

    config_file: Path
    config: dict
    weights: Path | None
    parts: dict[str, "ModelFiles"] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, folder: str | Path, config_name: str = CONFIG, above: tuple[Path, ...] = ()
    ) -> "ModelFiles":
        """Read the configuration in `folder`, and those of the models that it names.

        Args:
            folder: of the model; or a checkpoint of the URGENT baseline.
            config_name: file in it.
            above: configurations of the hybrids that this one is a part of.

        Raises:
            FileNotFoundError: there is no configuration.
            ValueError: it is no configuration of a model, or a hybrid that is a part of itself.
        """
        if str(folder).endswith(SUFFIX):
            path = Path(folder)
            return cls(path, published_config(path), path)
        path = Path(folder) / config_name
        if path.resolve() in above:
            raise ValueError(f"{above[-1]} names {folder}, of which it is a part itself")
        config = read_config(path)
        try:
            weights = find_weights(path.parent)
        except FileNotFoundError:
            weights = None
        parts, missing = {}, []
        if branch_of(config["separator"]) is HYBRID:
            for name in FUSED:
                named = (config["separator_conf"] or {}).get(name)
                place = part_folder(named, path.parent) if named else None
                if place is not None:
                    parts[name] = cls.read(place, above=(*above, path.resolve()))
                elif named:
                    missing.append(name)
        return cls(path, config, weights, parts, tuple(missing))

    @property
    def folder(self) -> Path:
        """Return the folder of the configuration."""
        return self.config_file.parent

    @property
    def branch(self) -> Branch:
        """Return which of the three networks this is."""
        return branch_of(self.config["separator"])

    def complete(self) -> "ModelFiles":
        """Return this once nothing is missing.

        Raises:
            FileNotFoundError: weights or a hybrid's branch are in none of the places looked at.
        """
        if self.weights is None:
            find_weights(self.folder)
        for name in self.missing:
            raise FileNotFoundError(
                f"{self.config_file} names the {name} branch "
                f"{self.config['separator_conf'][name]!r}, found neither beside it nor here; put "
                "the trained branch there, take the other one with --branch, or write "
                f"'{name}: null' to run the hybrid without it"
            )
        for part in self.parts.values():
            part.complete()
        return self

    def all_weights(self) -> list[Path]:
        """Return every file whose numbers decide the output: its own and its parts'.

        Raises:
            FileNotFoundError: as :meth:`complete`.
        """
        self.complete()
        return [
            *([] if self.weights is None else [self.weights]),
            *(file for part in self.parts.values() for file in part.all_weights()),
        ]


def part_folder(named: str, folder: Path) -> Path | None:
    """Find the folder that a hybrid in `folder` calls `named`, from there or from where we run."""
    for base in (folder / named, folder.parent / named, Path(named)):
        # ESPnet's unpack turns names of files, not of folders, into where they now lie.
        base = base.parent if base.name == CONFIG else base
        if (base / CONFIG).is_file() or (base.suffix == SUFFIX and base.is_file()):
            return base
    return None


def own_file(named: str, folder: Path) -> Path | None:
    """Find what a model in `folder` calls `named`, if it came with it: beside it, or from above."""
    for path in (folder / named, folder.parent / named):
        if path.exists():
            return path
    return None


def find_weights(folder: Path) -> Path:
    """Find the weights to use: the average of the best epochs, else the best, else the last.

    A file of another name is taken where it is the only one.

    Raises:
        FileNotFoundError: there are none.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    others = [path for path in sorted(folder.glob("*")) if path.suffix in (".pth", ".safetensors")]
    others = [path for path in others if not path.name.startswith("checkpoint")]
    if len(others) == 1:
        return others[0]
    raise FileNotFoundError(
        f"{folder}: no trained weights ({', '.join(WEIGHTS)}); train the model first"
    )


def read_config(path: Path) -> dict:
    """Read the configuration that training wrote beside the weights; YAML's tags are refused.

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
            if directory in (root / name).parents:
                check_file(root / name, digest, "get the model again, it is not what was packed")
        return
