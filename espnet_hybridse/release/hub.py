"""A packed release as the folder of a model hub: safetensors, a card, hashes."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.model.files import HASHES, read_config
from espnet_hybridse.model.loading import read_weights
from espnet_hybridse.release.encoder import FOLDER
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
        carried = path.suffix == ".safetensors" and path.parent.name == FOLDER
        if carried or (path.suffix in (".yaml", ".json", ".npz") and inside.name != HASHES):
            with atomic_path(out / inside) as tmp:
                shutil.copyfile(path, tmp)
    with atomic_path(out / "README.md") as tmp:
        tmp.write_text(card(packed, present, facts), encoding="utf-8")
    write_hashes(out)


def card(packed: Path, present: list[str], facts: Mapping[str, str]) -> str:
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
