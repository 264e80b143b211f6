"""A packed release as the folder of a model hub: safetensors, a card, hashes; and its upload."""

import shutil
from pathlib import Path
from typing import Dict, List, Mapping

import yaml

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.model.loading import HASHES, check_hashes, read_config, read_weights
from espnet_hybridse.release.pack import BRANCHES, WEIGHTS, write_hashes

HUB_WEIGHTS = "model.safetensors"
LIMITS = (
    "Trained on simulated distortions; other ones may be handled worse.",
    "The generative branch may change words or voices in heavy noise: see `--branch disc`.",
    "Not meant for forensic or medical use, nor for measuring who speaks.",
)


def write_hub_folder(packed: Path, out: Path, facts: Mapping[str, str]) -> None:
    """Write `out` from a folder of :func:`espnet_hybridse.release.pack.pack`.

    Args:
        packed: the release.
        out: folder to write.
        facts: rows of the card; `licence`, `data`, `results` and `limits` have places of their own.
    """
    from safetensors.torch import save

    present = [name for name in BRANCHES if (packed / name / "config.yaml").is_file()]
    for name in present:
        state = read_weights(packed / name / WEIGHTS)
        # A file of its own for every tensor's memory: safetensors refuses shared storage.
        data = save({key: value.contiguous().clone() for key, value in state.items()})
        with atomic_path(out / name / HUB_WEIGHTS) as tmp:
            tmp.write_bytes(data)
    for path in sorted(packed.rglob("*")):
        inside = path.relative_to(packed)
        # The quality network is for those who train on: hybridse enhance never reads it.
        if inside.parts[0] == "sqa":
            continue
        if path.suffix in (".yaml", ".json", ".npz") and inside.name != HASHES:
            with atomic_path(out / inside) as tmp:
                shutil.copyfile(path, tmp)
    with atomic_path(out / "README.md") as tmp:
        tmp.write_text(card(packed, present, facts), encoding="utf-8")
    write_hashes(out)


def card(packed: Path, present: List[str], facts: Mapping[str, str]) -> str:
    """The model card: how to use it, configuration, data, results, licence and limits."""
    licence = facts.get("licence", "apache-2.0").split(";")[0].strip().lower()
    front = {
        "license": licence if licence.replace("-", "").replace(".", "").isalnum() else "other",
        "library_name": "espnet",
        "pipeline_tag": "audio-to-audio",
        "tags": ["speech-enhancement", "espnet", "espnet_hybridse"],
    }
    lines = ["---", yaml.safe_dump(front, sort_keys=False).strip(), "---", ""]
    lines += ["# Universal speech enhancement", "", "```sh"]
    lines += ["hybridse enhance noisy.wav clean.wav --model OWNER/NAME", "```", ""]
    lines += ["## Configuration", ""]
    for name in present:
        config = read_config(packed / name / "config.yaml")
        options = ", ".join(f"{k} {v}" for k, v in config["separator_conf"].items())
        lines.append(f"- {name}: {config['separator']} ({options})")
    for title in ("data", "results", "licence", "limits"):
        lines += ["", f"## {title.capitalize()}", ""]
        if title in facts:
            lines.append(facts[title])
        elif title == "limits":
            lines += [f"- {text}" for text in LIMITS]
        elif title == "licence":
            lines.append("Apache-2.0")
        else:
            lines.append(f"Not stated; `hybridse pack --fact {title}=…` states it.")
    others = {k: v for k, v in facts.items() if k not in ("data", "results", "licence", "limits")}
    if others:
        lines += ["", "## Training", ""]
        lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in others.items()]
    return "\n".join(lines) + "\n"


def check_hub_folder(folder: Path) -> Dict[str, int]:
    """The files of a folder that is fit to be uploaded, and their sizes in bytes.

    Raises:
        FileNotFoundError: no card, no hashes or no model.
        AssetCorrupt: a file is not the one that was packed.
        ValueError: a file that is none of a model's.
    """
    models = [name for name in BRANCHES if (folder / name / HUB_WEIGHTS).is_file()]
    for name in ("README.md", HASHES):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; make it with hybridse pack --hub")
    if not models:
        raise FileNotFoundError(f"{folder}: no {HUB_WEIGHTS}; make it with hybridse pack --hub")
    for name in models:
        check_hashes(folder / name)
        read_weights(folder / name / HUB_WEIGHTS)
    sizes = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix not in (".yaml", ".json", ".npz", ".md", ".safetensors"):
            raise ValueError(f"{path} is none of a model's files; take it away")
        sizes[name] = path.stat().st_size
    return sizes


def push(folder: Path, name: str, private: bool) -> str:
    """Upload a folder with the login of the hub's own tool; returns its address.

    Raises:
        RuntimeError: the hub cannot be reached or refuses.
    """
    try:
        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(folder_path=str(folder), repo_id=name))
    except Exception as error:  # network, authorisation and naming errors share no base class
        raise RuntimeError(
            f"{name}: not uploaded ({type(error).__name__}: {' '.join(str(error).split())[:300]}); "
            "log in with 'hf auth login', or see what would be sent with --dry_run"
        ) from error
