"""The manifest of a token set: which tokenizer made it, so that training refuses another one's."""

import json
from collections.abc import Mapping
from pathlib import Path

from espnet_hybridse.fileio.lists import ListError, write_json

MANIFEST_NAME = "manifest.json"
TOKEN_RATE = 50
"""Tokens per second: X-Codec, WavLM, Whisper and the refiner's 20 ms hop share this grid."""

FIELDS = ("backend", "id", "sha256", "rate", "vocab_size")
"""What two token sets must share to be mixed. Other keys are for the reader."""


class ManifestError(ValueError):
    """Two token sets do not belong together; the message names the differing field."""


def write_manifest(directory: str | Path, manifest: Mapping[str, object]) -> Path:
    """Write `manifest.json` into `directory` atomically and return its path.

    Raises:
        ManifestError: one of FIELDS is missing.
    """
    missing = [field for field in FIELDS if field not in manifest]
    if missing:
        raise ManifestError(f"manifest lacks {', '.join(missing)}; needed: {', '.join(FIELDS)}")
    path = Path(directory) / MANIFEST_NAME
    write_json(path, dict(manifest))
    return path


def read_manifest(path: str | Path) -> dict:
    """Read a manifest; `path` is the file or the folder that holds it.

    Raises:
        ListError: there is no such file, or it is not JSON.
    """
    path = Path(path)
    if path.is_dir():
        path = path / MANIFEST_NAME
    if not path.is_file():
        raise ListError(f"{path}: no token manifest; run 'hybridse tokenize' to make one")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ListError(f"{path}: not JSON ({error}); delete it and run tokenize again") from error


def check_compatible(
    a: Mapping[str, object],
    b: Mapping[str, object],
    name_a: str = "the first token set",
    name_b: str = "the second token set",
) -> None:
    """Check that the tokens of `a` and `b` mean the same.

    Raises:
        ManifestError: names the first of FIELDS that differs, both values and the fix.
    """
    for field in FIELDS:
        if a.get(field) != b.get(field):
            raise ManifestError(
                f"tokens are not compatible: {field} is {a.get(field)!r} in {name_a} but "
                f"{b.get(field)!r} in {name_b}; extract both with one tokenizer "
                "('hybridse tokenize … --manifest FIRST/manifest.json')"
            )
