"""A folder of trained models that travels: no path of the machine they were trained on."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml

from espnet_hybridse.fileio.checksum import file_sha256
from espnet_hybridse.fileio.lists import atomic_path, write_json
from espnet_hybridse.inference.second_look import KEY as CLEAN_CHANGE
from espnet_hybridse.model.branch import FUSED, GEN, HYBRID
from espnet_hybridse.model.files import HASHES, ModelFiles
from espnet_hybridse.model.loading import read_weights
from espnet_hybridse.model.published import SUFFIX
from espnet_hybridse.release.encoder import carry_encoder
from espnet_hybridse.release.in_loss import KEY as IN_LOSS
from espnet_hybridse.release.in_loss import columns_in_loss
from espnet_hybridse.tokens.manifest import MANIFEST_NAME, read_manifest

MODEL_KEYS = ("encoder", "separator", "decoder", "preprocessor")
WEIGHTS = "model.pth"
WHOLE = {"stft": "sfi_stft"}
"""Encoders and decoders that cut the last frame off -> those that this package builds for them:
stock ESPnet, too, then gives the samples that `hybridse enhance` gives."""
BRANCHES = (*FUSED, HYBRID.name)
"""Folders of trained models; `third` is one more input of the hybrid's fusion."""


def pack(
    models: Mapping[str, Path],
    tokens: Path,
    out: Path,
    facts: Mapping[str, str],
) -> None:
    """Write `out/<branch>/{config.yaml,model.pth}`, the tokenizer and a card.

    Args:
        models: branch -> experiment, or published checkpoint; a hybrid's branches are found beside
            it in `out`, and so is the third system that it hears, if it does: its own configuration
            names that one.
        tokens: token set whose tokenizer (manifest and codebook) the generative branch needs.
        out: folder to write.
        facts: rows of the card: command, data, hours, seed, ….

    Raises:
        FileNotFoundError: the hybrid's third system is not where its configuration says.
        ValueError: that system is a hybrid itself, whose branches would have to travel too; or a
            speech encoder cannot.
    """
    rows = []
    third = third_of(models["hybrid"]) if "hybrid" in models else None
    if third is not None:
        models = {**models, "third": third}
    for branch, exp in models.items():
        trained = ModelFiles.read(exp)
        config = {**model_config(trained.config), IN_LOSS: columns_in_loss(trained)}
        if branch == "hybrid":
            config["separator_conf"].update(disc="../disc", gen="../gen")
            if third is not None:
                config["separator_conf"].update(third="../third")
        folder = out / branch
        if config["separator"] == GEN.separator:
            read_manifest(tokens)  # refuses before anything is written
            carry_encoder(config["separator_conf"], exp, folder)
        with atomic_path(folder / "config.yaml") as tmp:
            tmp.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        put_weights(trained.complete().weights, folder / WEIGHTS)
        if (exp / MANIFEST_NAME).is_file():
            copy(exp / MANIFEST_NAME, folder / MANIFEST_NAME)
        rows.append(row(branch, folder / WEIGHTS))
    for path in sorted(tokens.glob("*")):
        if path.suffix in (".json", ".npz"):
            copy(path, out / "tokens" / path.name)
    card = ["# Trained models", "", "| model | weights | sha256 |", "|---|---|---|", *rows, ""]
    card += [f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items()]
    with atomic_path(out / "README.md") as tmp:
        tmp.write_text("\n".join(card) + "\n", encoding="utf-8")
    write_hashes(out)


def third_of(exp: Path) -> Path | None:
    """The folder of the system that a hybrid hears beside its branches; None without one."""
    files = ModelFiles.read(exp)
    if "third" in files.missing:
        raise FileNotFoundError(
            f"{files.config_file} names a third system "
            f"{files.config['separator_conf']['third']!r}, found neither beside it nor here; put "
            "its folder there to pack it"
        )
    third = files.parts.get("third")
    if third is not None and third.branch is HYBRID:
        raise ValueError(
            f"{third.folder}, the third system of {exp}, is a hybrid with branches of its own; "
            "pack copies systems of one network only"
        )
    if third is None:
        return None
    return third.config_file if third.config_file.suffix == SUFFIX else third.folder


def write_hashes(out: Path) -> None:
    """Write `out/hashes.json`: the sha256 of each file of the models, checked when they load."""
    (out / HASHES).unlink(missing_ok=True)
    paths = [p for name in (*BRANCHES, "tokens") for p in (out / name).rglob("*")]
    files = sorted(p for p in paths if p.is_file() and not p.name.startswith("."))
    write_json(
        out / HASHES,
        {path.relative_to(out).as_posix(): file_sha256(path) for path in files},
    )


def row(name: str, weights: Path) -> str:
    """A line of the card's table."""
    digest = file_sha256(weights)
    return f"| {name} | {weights.stat().st_size / 1e6:.2f} MB | `{digest}` |"


def model_config(config: Mapping[str, object]) -> dict:
    """The keys of an ESPnet config that build the model; data, paths and trainer are left out."""
    kept = {}
    for key in MODEL_KEYS:
        kept[key] = WHOLE.get(config[key], config[key])
        kept[f"{key}_conf"] = config.get(f"{key}_conf") or {}
    # The quality model of the SQA term lies where it was trained; inference does not need it.
    kept["criterions"] = [c for c in config["criterions"] if c["name"] != "sqa"]
    kept["model_conf"] = config.get("model_conf") or {}
    kept["init"] = None
    if CLEAN_CHANGE in config:
        kept[CLEAN_CHANGE] = config[CLEAN_CHANGE]
    return kept


def put_weights(source: Path, target: Path) -> None:
    """Write the weights of a model, of a published checkpoint those under our names alone.

    They are written as of the CPU: what a GPU saved opens on no machine without one, unless who
    loads it thinks of that.
    """
    with atomic_path(target) as tmp:
        torch.save({name: value.clone() for name, value in read_weights(source).items()}, tmp)


def copy(source: Path, target: Path) -> None:
    with atomic_path(target) as tmp:
        shutil.copyfile(source, tmp)
