"""Official weights that no package carries: found in a folder or in the caches of their tools.

Scoring itself never downloads: a number must not depend on whether a hub answered. What is not
here is reported with the command that fetches it.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from espnet_hybridse.fileio.assets import AssetMissing
from espnet_hybridse.scoring.metrics.metric import Metric, Setup

TRANSFORMERS_FILES = ("config.json", "model.safetensors|pytorch_model.bin")


class ModelMetric(Metric):
    """A metric whose network has a public `model_id` and weights that must be fetched first."""

    network = True
    model_id: str

    def weights(self, setup: Setup) -> Path:
        """The folder or file of the weights.

        Raises:
            AssetMissing: they are not here; the message holds the command that fetches them.
        """
        raise NotImplementedError

    def load(self, weights: Path, device: str) -> Any:
        """The network, in evaluation mode on `device`."""
        raise NotImplementedError

    def check_assets(self, setup):
        self.weights(setup)

    @cached_property
    def _loaded(self) -> dict[tuple[Path, str], Any]:
        return {}

    def model(self, setup: Setup) -> Any:
        """What `load` gives, made once."""
        key = (self.weights(setup), setup.device)
        if key not in self._loaded:
            self._loaded[key] = self.load(*key)
        return self._loaded[key]


class HubMetric(ModelMetric):
    """Weights of a Hugging Face repository: a folder, or an id in the local cache."""

    files: Sequence[str] = TRANSFORMERS_FILES
    """What the folder must hold; `a|b` is either."""

    def weights(self, setup):
        return hub_folder(setup.models.get(self.key, self.model_id), self.files, self.key)


class FileMetric(ModelMetric):
    """Weights in one file, kept where the metric's own tool puts it."""

    path: Path
    fetch: str
    """The command that makes `path`."""

    def weights(self, setup):
        path = Path(setup.models.get(self.key, self.path)).expanduser()
        if not path.is_file():
            fetch = f"run: {self.fetch}" if self.key not in setup.models else "check --models"
            raise AssetMissing(f"no weights of {self.model_id} in {path}; {fetch}")
        return path


def hub_folder(name: str, files: Sequence[str], key: str) -> Path:
    """The folder called `name`, or the cached snapshot of the Hugging Face repository `name`.

    Raises:
        AssetMissing: there is neither, or it lacks one of `files`.
    """
    folder, fetch = Path(name).expanduser(), f"run: hf download {name}"
    if folder.is_dir():
        fetch = f"name a whole one with --models {key}=DIR"
    else:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError, OSError):
            raise AssetMissing(
                f"no weights of {name!r} in the Hugging Face cache, nor a folder of that name "
                f"(--models {key}=DIR takes one); {fetch}"
            ) from None
    for file in files:
        if not any((folder / one).is_file() for one in file.split("|")):
            raise AssetMissing(f"{folder} lacks {file.replace('|', ' or ')}; {fetch}")
    return folder
