"""The speech encoder of a generative branch, where it is a file of one machine alone."""

from pathlib import Path

from safetensors.numpy import save_file

from espnet_hybridse.encoders.whisper import read_ctranslate2
from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.model.files import own_file

FOLDER = "encoder"


def carry_encoder(conf: dict, exp: Path, folder: Path) -> None:
    """Copy the encoder that `conf` names by a path into `folder/encoder`, and name that instead.

    Encoders that a model hub or this package holds stay where they are.

    Args:
        conf: `separator_conf` of a generative branch; its `semantic_conf` is changed.
        exp: the experiment, from which relative paths may be meant.
        folder: of the packed branch.

    Raises:
        ValueError: the encoder is in a form that cannot travel; the message says what can.
    """
    semantic, given = conf.get("semantic", "wavlm"), conf.get("semantic_conf") or {}
    if not isinstance(given.get("model"), str):
        return
    place = Path(own_file(given["model"], exp) or given["model"])
    if not place.exists():
        return
    if semantic == "s3prl":
        raise ValueError(
            f"{exp}: its speech encoder {given['model']!r} is a checkpoint of s3prl's, which runs "
            "code when it is read and does not travel; train with semantic: wavlm and a folder of "
            "save_pretrained, or name an upstream whose weights s3prl fetches itself (upstream: "
            "wavlm_base_plus, model: null)"
        )
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    if semantic == "whisper":
        name = f"{FOLDER}/encoder.safetensors"
        if place.suffix == ".safetensors":
            data = place.read_bytes()
            with atomic_path(folder / name) as tmp:
                tmp.write_bytes(data)
        else:
            variables = read_ctranslate2(place / "model.bin", "encoder/")
            with atomic_path(folder / name) as tmp:
                save_file({k.removeprefix("encoder/"): v for k, v in variables.items()}, tmp)
    else:
        from transformers import WavLMModel

        name = f"{FOLDER}/config.json"
        source = place.parent if place.is_file() else place
        WavLMModel.from_pretrained(source).save_pretrained(target, safe_serialization=True)
    conf["semantic_conf"] = {**given, "model": name}
