"""Loading a trained model: its networks, and the weights that they were trained to."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from espnet_hybridse.model.branch import branch_of
from espnet_hybridse.model.build import FindClass, SpeechModel, build_model, espnet_class
from espnet_hybridse.model.files import ModelFiles, check_hashes, own_file
from espnet_hybridse.model.published import SUFFIX, published_weights


@dataclass
class LoadedModel:
    """A model in eval mode, the configuration it was built from, and what loads it anew.

    `loader` is None of a model that was built in memory.
    """

    model: SpeechModel
    config: dict
    loader: "ModelLoader | None" = None

    @property
    def branch(self) -> str:
        """Return which of the three networks it is: disc, gen or hybrid."""
        return branch_of(self.config.get("separator", "")).name


@dataclass(frozen=True)
class ModelLoader:
    """Loads one trained model each time it is called.

    Args:
        source: its files, or a folder that is read only when it is needed.
        find_class: names in configurations to classes.
    """

    source: ModelFiles | Path
    find_class: FindClass = espnet_class

    @property
    def files(self) -> ModelFiles:
        """Return the model's files; raises as :meth:`ModelFiles.read`."""
        return self.source if isinstance(self.source, ModelFiles) else ModelFiles.read(self.source)

    def __call__(self) -> LoadedModel:
        """Load it; raises as :func:`load_model`."""
        return load_model(self.files, self.find_class)


def load_model(
    source: ModelFiles | str | Path, find_class: FindClass = espnet_class
) -> LoadedModel:
    """Build a trained model and fill it.

    Args:
        source: its files, or its folder.
        find_class: names in configurations to classes; ESPnet's tables know the package's after
            `espnet_hybridse.register()`.

    Raises:
        FileNotFoundError: there is no config or no weights.
        ValueError: weights and model disagree; the message names the keys. Or one of them is no
            configuration, or no file of weights.
        AssetCorrupt: a packed model whose bytes have changed.
    """
    files = source if isinstance(source, ModelFiles) else ModelFiles.read(source)
    files.complete()
    check_hashes(files.folder)
    model = build_model(files, with_loaders(files, find_class), find_class)
    fill(model, files)
    return LoadedModel(model.eval(), files.config, ModelLoader(files, find_class))


def with_loaders(files: ModelFiles, find_class: FindClass) -> dict:
    """Return the configuration of `files` with a loader in the place of each part that is there."""
    conf = dict(files.config["separator_conf"] or {})
    conf.update({name: ModelLoader(part, find_class) for name, part in files.parts.items()})
    semantic = conf.get("semantic_conf") or {}
    carried = isinstance(semantic.get("model"), str) and own_file(semantic["model"], files.folder)
    if carried:  # a packed model brings its speech encoder along
        conf["semantic_conf"] = {**semantic, "model": str(carried)}
    return {**files.config, "separator_conf": conf}


def fill(model: nn.Module, files: ModelFiles) -> None:
    """Give a model its trained weights.

    Raises:
        ValueError: they are not those of this model, or the file holds none.
    """
    state = read_weights(files.complete().all_weights()[0])
    missing, extra = model.load_state_dict(state, strict=False)
    if missing or extra:
        raise ValueError(
            f"{files.weights} does not fit {files.config_file}: missing {missing[:3]}, "
            f"extra {extra[:3]} ({len(missing)} and {len(extra)} keys); take both from the same "
            "experiment"
        )


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a `.pth`, `.safetensors` or baseline's `.ckpt` file; no code is run.

    Raises:
        ValueError: the file holds anything else, or is damaged.
    """
    if path.suffix == SUFFIX:
        return published_weights(path)
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
