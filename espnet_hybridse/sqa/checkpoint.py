"""Where the weights of a quality network lie; known without PyTorch, before anything is trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_hybridse.fileio.assets import dnsmos_model
from espnet_hybridse.sqa.backends import MODEL_ID, OFF, PACKAGED

WEIGHTS = "model.pt"
REACH_S = 5.0
"""Seconds in which a hub must answer; one that is not there answers never."""


def find_checkpoint(checkpoint: str) -> Path:
    """The weight file behind a path, a folder or a Hugging Face id, which is fetched if need be.

    Raises:
        FileNotFoundError: none of them; the message says how to get the file.
    """
    path = Path(checkpoint).expanduser()
    if path.is_dir():
        path = path / WEIGHTS
    if path.is_file():
        return path
    remedy = (
        f"run 'hf download {MODEL_ID}' where there is a network, take {PACKAGED}, which needs no "
        f"download, or {OFF} to train without (--sqa_checkpoint); neither is then the paper's "
        "equation (4)"
    )
    # "exp/sqa" is meant for a folder where there is an exp, "name/model" for a hub's id.
    if checkpoint.count("/") == 1 and not (path.suffix == ".pt" or path.parent.exists()):
        try:
            return _of_hub(checkpoint)
        # Besides OSError and ValueError what the hub's HTTP library has of its own.
        except Exception as error:
            raise FileNotFoundError(
                f"SQA checkpoint {checkpoint!r} is neither cached nor reachable "
                f"({type(error).__name__}); {remedy}"
            ) from error
    raise FileNotFoundError(f"SQA checkpoint {checkpoint!r}: no such file; {remedy}")


def _of_hub(repository: str) -> Path:
    """The cached file, else the downloaded one; without a hub an error at once.

    A download by itself tries again and again, for half a minute, before it says so.
    """
    import huggingface_hub as hub

    cached = hub.try_to_load_from_cache(repository, WEIGHTS)
    if isinstance(cached, str):
        return Path(cached)
    hub.get_hf_file_metadata(hub.hf_hub_url(repository, WEIGHTS), timeout=REACH_S)
    return Path(hub.hf_hub_download(repository, WEIGHTS))


def check_quality_network(config: Mapping[str, Any], given: str | None = None) -> str:
    """A line about the quality network of a training's SQA loss, which is there once it returns.

    Args:
        config: of the training.
        given: what takes the place of the network that `config` names.

    Raises:
        AssetMissing, AssetCorrupt: the networks of packages are not installed, or damaged.
        FileNotFoundError: as of :func:`find_checkpoint`.
    """
    terms = [term for term in config.get("criterions") or () if term.get("name") == "sqa"]
    named = next(((term.get("conf") or {}).get("checkpoint") for term in terms), None)
    checkpoint = given or named
    if not terms or checkpoint in (None, OFF):
        return "no quality network in the fusion's loss: it is not the paper's equation (4)"
    if checkpoint == PACKAGED:
        dnsmos_model()
        return f"quality network of the fusion's loss: {PACKAGED}, which is not the paper's"
    return f"quality network of the fusion's loss: {find_checkpoint(checkpoint)}"
