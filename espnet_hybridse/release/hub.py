"""A packed release as the folder of a model hub: safetensors, card, hashes, a Space's page."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.model.files import HASHES, read_config
from espnet_hybridse.model.loading import read_weights
from espnet_hybridse.release.encoder import FOLDER
from espnet_hybridse.release.in_loss import KEY as IN_LOSS
from espnet_hybridse.release.pack import BRANCHES, WEIGHTS, write_hashes
from espnet_hybridse.runtime.version import __version__

HUB_WEIGHTS = "model.safetensors"
LIMITS = (
    "Trained on simulated distortions; other ones may be handled worse.",
    "The generative branch may change words or voices in heavy noise: see `--branch disc`.",
    "Not meant for forensic or medical use, nor for measuring who speaks.",
)
APP = '''"""The page of this model: python app.py, or a Space with this folder in it."""

from pathlib import Path

from espnet_hybridse.demo.examples import find_examples
from espnet_hybridse.demo.page import serve

if __name__ == "__main__":
    # A Space's own door is at this address.
    serve(str(Path(__file__).parent), examples=find_examples(), host="0.0.0.0", port=7860)
'''
REQUIREMENTS = f"espnet_hybridse[demo]=={__version__}\n"
SPACE = {"title": "Universal speech enhancement", "sdk": "gradio", "app_file": "app.py"}
"""What a Space wants to know; a model's card may say it, too."""


@dataclass(frozen=True)
class CardFiles:
    """Files that become parts of the card.

    Attributes:
        results: Markdown, such as `hybridse score --table` prints with published systems beside.
        picture: PNG or WebP, such as the spectrograms of `hybridse report`.
        data_licences: Markdown, such as the LICENSES.md of `hybridse prepare`.
    """

    results: Path | None = None
    picture: Path | None = None
    data_licences: Path | None = None

    def __post_init__(self):
        for name in ("results", "picture", "data_licences"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise FileNotFoundError(f"--{name} {path}: no such file")


def write_hub_folder(
    packed: Path, out: Path, facts: Mapping[str, str], files: CardFiles = CardFiles()
) -> None:
    """Write `out` from a folder of :func:`espnet_hybridse.release.pack.pack`.

    Args:
        packed: the release.
        out: folder to write.
        facts: rows of the card; `licence`, `data`, `results` and `limits` have places of their own.
        files: parts of the card.
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
    if files.picture is not None:
        with atomic_path(out / picture_name(files.picture)) as tmp:
            shutil.copyfile(files.picture, tmp)
    texts = {
        "README.md": card(packed, present, facts, files),
        "app.py": APP,
        "requirements.txt": REQUIREMENTS,
    }
    for name, text in texts.items():
        with atomic_path(out / name) as tmp:
            tmp.write_text(text, encoding="utf-8")
    write_hashes(out)


def picture_name(source: Path) -> str:
    return f"spectrograms{source.suffix.lower()}"


def card(
    packed: Path, present: list[str], facts: Mapping[str, str], files: CardFiles = CardFiles()
) -> str:
    """The model card: how to use it, configuration, data, results, licence and limits."""
    licence = facts.get("licence", "apache-2.0").split(";")[0].strip().lower()
    front = {
        "license": licence if licence.replace("-", "").replace(".", "").isalnum() else "other",
        "library_name": "espnet",
        "pipeline_tag": "audio-to-audio",
        "tags": ["speech-enhancement", "espnet", "espnet_hybridse"],
        **SPACE,
    }
    configs = {name: read_config(packed / name / "config.yaml") for name in present}
    lines = ["---", yaml.safe_dump(front, sort_keys=False).strip(), "---", ""]
    lines += [f"# {SPACE['title']}", ""]
    if files.picture is not None:
        lines += [
            f"![Spectrograms of noisy and enhanced speech]({picture_name(files.picture)})",
            "",
        ]
    lines += ["```sh", "hybridse enhance noisy.wav clean.wav --model OWNER/NAME"]
    lines += ["hybridse demo --model OWNER/NAME", "```", "", "## Configuration", ""]
    for name, config in configs.items():
        options = ", ".join(f"{k} {v}" for k, v in config["separator_conf"].items())
        lines.append(f"- {name}: {config['separator']} ({options})")
    in_loss = {name: config.get(IN_LOSS) or [] for name, config in configs.items()}
    for title in ("data", "results", "licence", "limits"):
        lines += ["", f"## {title.capitalize()}", "", *_section(title, facts, files)]
        if title == "results":
            lines += ["", judged(in_loss)]
    others = {k: v for k, v in facts.items() if k not in ("data", "results", "licence", "limits")}
    if others:
        lines += ["", "## Training", ""]
        lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in others.items()]
    return "\n".join(lines) + "\n"


def _section(title: str, facts: Mapping[str, str], files: CardFiles) -> list[str]:
    lines = [facts[title]] if title in facts else []
    if title == "results" and files.results is not None:
        lines += [files.results.read_text(encoding="utf-8").strip()]
    if title == "data" and files.data_licences is not None:
        table = files.data_licences.read_text(encoding="utf-8").splitlines()
        # A title of its own would end the card's section.
        lines += ["", *(line for line in table if not line.startswith("# "))]
    if lines:
        return lines
    if title == "limits":
        return [f"- {text}" for text in LIMITS]
    if title == "licence":
        return ["Apache-2.0"]
    option = " or --results FILE" if title == "results" else ""
    return [f"Not stated; `hybridse pack --fact {title}=…`{option} states it."]


def judged(in_loss: Mapping[str, list[str]]) -> str:
    """Which columns are no judges, since training made the models follow them."""
    said = "; ".join(
        f"{name}: {', '.join(columns)}" for name, columns in in_loss.items() if columns
    )
    if not said:
        return "No metric was in a loss of any of these models."
    return f"**In a loss, and so no judge:** {said}."
