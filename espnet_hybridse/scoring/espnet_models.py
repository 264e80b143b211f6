"""Published ESPnet models, from a folder or the Hugging Face cache."""

from pathlib import Path

from espnet_hybridse.scoring.weights import HubMetric


class EspnetMetric(HubMetric):
    """Weights packed by ESPnet: `meta.yaml` names the configuration and the checkpoint."""

    files = ("meta.yaml",)
    modules = ("espnet2", "espnet_model_zoo")


def constructor_arguments(folder: Path) -> dict[str, str]:
    """What `from_pretrained` would hand to the inference class, without asking the network."""
    from espnet_model_zoo.downloader import ModelDownloader

    return ModelDownloader._unpack_cache_dir_for_huggingface(str(folder))
