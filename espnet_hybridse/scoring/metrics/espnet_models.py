"""Published ESPnet models, from a folder or the Hugging Face cache."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from espnet_hybridse.scoring.metrics.hub_weights import HubMetric


class EspnetMetric(HubMetric):
    """Weights packed by ESPnet: `meta.yaml` names the configuration and the checkpoint."""

    files = ("meta.yaml",)
    modules = ("espnet2",)


def load_packed(inference_class, folder: Path, **options):
    """An inference class of ESPnet from a packed folder, which is left as it was downloaded.

    A packed configuration names its files (a BPE model, statistics) relative to the folder. ESPnet
    makes them absolute in `espnet_model_zoo`, older releases by rewriting the downloaded file; here
    a temporary copy is enough, as the class reads it once.
    """
    folder = Path(folder).resolve()
    meta = yaml.safe_load((folder / "meta.yaml").read_text(encoding="utf-8"))
    arguments = {key: str(folder / name) for key, name in meta["files"].items()}
    with ExitStack() as stack:
        for key, name in meta["yaml_files"].items():
            config = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
            copy = Path(stack.enter_context(TemporaryDirectory())) / "config.yaml"
            copy.write_text(yaml.safe_dump(_absolute(config, folder)), encoding="utf-8")
            arguments[key] = str(copy)
        return inference_class(**arguments, **options)


def _absolute(value, folder: Path):
    """Strings that name a file of the folder, with its path. A word of a vocabulary is none."""
    if isinstance(value, dict):
        return {key: _absolute(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if isinstance(value, str) and "/" in value and not value.startswith("/"):
        path = folder / value
        if ".." not in path.parts and len(value) < 4096 and path.exists():
            return str(path)
    return value
