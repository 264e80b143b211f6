"""Finding a model: a folder, a zip, the id on a model hub, or the one of the repository."""

from dataclasses import replace
from pathlib import Path

from espnet_hybridse.model.branch import BRANCHES, HYBRID
from espnet_hybridse.model.files import CONFIG, ModelFiles
from espnet_hybridse.model.published import SUFFIX
from espnet_hybridse.model.unpack import META, packed_files, unpack_model

DEFAULT_MODEL = Path(__file__).parents[2] / "egs/mini/enh1/pretrained/small"
"""The small trained models, in a checkout of the repository."""
INSTALLED_MODEL = Path(__file__).parents[1] / "pretrained/small"
"""Where setup.py puts a copy of them when it installs anything but a checkout itself."""

HUB_FILES = ("*.yaml", "*.json", "*.safetensors", "*.pth", "*.npz", "*.md")


def find_model(
    source: ModelFiles | str | Path | None = None, branch: str | None = None
) -> ModelFiles:
    """Find the files of a model.

    Args:
        source: a folder of one trained model; a folder or zip of `hybridse pack`, which holds
            several; a zip of `espnet2.bin.pack`; OWNER/NAME on a model hub; or a checkpoint of the
            URGENT baseline, FILE.ckpt or OWNER/NAME/FILE.ckpt. None takes the model that comes with
            the repository.
        branch: which one of several; None takes the hybrid, else what there is.

    Raises:
        FileNotFoundError: there is no such model or no such branch.
        ValueError: a branch of another name, or an archive that is not one.
    """
    if branch is not None and branch not in BRANCHES:
        raise ValueError(f"branch={branch!r} is not one of {', '.join(BRANCHES)}")
    if isinstance(source, ModelFiles):
        return source if branch is None else _branch(source, branch)
    folder = _folder(source)
    files = _single(folder)
    if files is not None:
        return files if branch is None else _branch(files, branch)
    names = BRANCHES if branch is None else (branch,)
    for name in names:
        if (folder / name / CONFIG).is_file():
            return ModelFiles.read(folder / name)
    raise FileNotFoundError(
        f"{folder}: no trained weights of {' or '.join(names)}: neither a config.yaml nor such "
        f"a folder; name a model with --model (of several checkpoints one: FILE{SUFFIX}, or "
        f"OWNER/NAME/FILE{SUFFIX})"
    )


def _single(place: Path) -> ModelFiles | None:
    """Return the model at `place`, if that is one: a checkpoint, a folder, what ESPnet packed."""
    if place.suffix == SUFFIX or (place / CONFIG).is_file():
        return ModelFiles.read(place)
    if (place / META).is_file():
        config, weights = packed_files(place)
        return replace(ModelFiles.read(config.parent, config.name), weights=weights)
    # A model hub may hold an experiment without the list of what is in it.
    inside = [path for path in sorted(place.glob(f"exp/*/{CONFIG}")) if path.is_file()]
    return ModelFiles.read(inside[0].parent) if len(inside) == 1 else None


def _branch(files: ModelFiles, branch: str) -> ModelFiles:
    """Return the model of `branch`, given a hybrid's or the branch's own."""
    if files.branch.name == branch:
        return files
    if files.branch is HYBRID and branch in files.parts:
        # The other branch may be missing: it is not needed.
        return files.parts[branch]
    raise FileNotFoundError(
        f"{files.folder} is a {files.config['separator']} and has no branch {branch!r}; name a "
        f"hybrid, or the folder of the {branch} model, with --model"
    )


def _folder(source: str | Path | None) -> Path:
    if source is None:
        for folder in (DEFAULT_MODEL, INSTALLED_MODEL):
            if folder.is_dir():
                return folder
        raise FileNotFoundError(
            f"no model comes with this installation (neither {DEFAULT_MODEL} nor "
            f"{INSTALLED_MODEL} is there); name one with --model DIR, ZIP or OWNER/NAME"
        )
    path = Path(source)
    if path.is_file():
        return path if path.suffix == SUFFIX else unpack_model(path)
    if path.is_dir():
        return path
    parts = str(source).split("/")
    checkpoint = len(parts) == 3 and parts[2].endswith(SUFFIX)
    if (len(parts) == 2 or checkpoint) and all(parts) and not str(source).startswith((".", "~")):
        return _from_hub("/".join(parts[:2]), parts[2] if checkpoint else None)
    raise FileNotFoundError(
        f"{source}: no such folder, zip or checkpoint, nor an id OWNER/NAME (or "
        f"OWNER/NAME/FILE{SUFFIX}) of a model hub"
    )


def _from_hub(name: str, file: str | None) -> Path:
    """Return a folder with the files of a model, or one checkpoint, in the hub's own cache."""
    try:
        from huggingface_hub import hf_hub_download, snapshot_download

        if file is not None:
            return Path(hf_hub_download(name, file))
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # network, authorisation and naming errors share no base class
        raise FileNotFoundError(
            f"{name}: no such folder here, and the model hub did not give it "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        ) from error
