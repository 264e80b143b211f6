"""Zips of trained models: read without trust, kept unpacked in the user's cache."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import yaml

from espnet_hybridse.fileio.checksum import file_sha256
from espnet_hybridse.fileio.disk import cache_folder, staged_folder

MAX_BYTES = 20 * 2**30
"""Of an unpacked model; the paper's three with their encoder's fingerprint take 0.5 GB."""
MAX_FILES = 1000
META = "meta.yaml"
"""What `espnet2.bin.pack` says of the files beside it."""
SUFFIXES = (".yaml", ".json", ".pth", ".safetensors", ".npz", ".md", ".txt")


class UnsafeArchive(ValueError):
    """An archive that is no model or wants more than to be one; nothing of it was written."""


def unpack_model(archive: Path) -> Path:
    """Unpack a zip once and return the folder that holds it.

    The folder's name is the sha256 of the zip, so another zip of the same name is another folder.

    Returns:
        The folder with what is in the zip.

    Raises:
        UnsafeArchive: no zip, members outside of it, links, executables or far too large.
    """
    folder = cache_folder() / f"model-{file_sha256(archive)[:16]}"
    if not folder.is_dir():
        _unpack(archive, folder)
    return folder


def checked_members(zipped: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """The files in a zip once all of them are harmless.

    Raises:
        UnsafeArchive: names the first that is not.
    """
    # Not is_dir(): before Python 3.12 it fails where there is no name.
    members = [info for info in zipped.infolist() if not info.filename.endswith("/")]
    if len(members) > MAX_FILES or sum(info.file_size for info in members) > MAX_BYTES:
        raise UnsafeArchive(
            f"{archive}: {len(members)} files of {sum(i.file_size for i in members) / 2**30:.1f} "
            f"GiB; a model has at most {MAX_FILES} and {MAX_BYTES / 2**30:.0f} GiB"
        )
    for info in members:
        name = PurePosixPath(info.filename)
        mode = info.external_attr >> 16
        problem = None
        if not name.parts:
            problem = "is no name of a file"
        elif name.is_absolute() or ".." in name.parts or _has_drive(info.filename):
            problem = "would be written outside of its folder"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            problem = "is a link or a device"
        elif name.suffix not in SUFFIXES:
            problem = f"is none of {', '.join(SUFFIXES)}"
        if problem:
            raise UnsafeArchive(f"{archive}: {info.filename!r} {problem}; nothing was unpacked")
    return members


def _has_drive(name: str) -> bool:
    """Whether Windows would take it for a path from elsewhere."""
    return "\\" in name or ":" in name.split("/")[0]


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as zipped, staged_folder(folder) as staging:
            for info in checked_members(zipped, archive):
                target = staging / info.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(info) as source, open(target, "wb") as handle:
                    shutil.copyfileobj(source, handle, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise UnsafeArchive(f"{archive}: not a readable zip ({error})") from error


def packed_files(folder: Path) -> tuple[Path, Path]:
    """Return the configuration and the weights that ESPnet's meta.yaml in `folder` names.

    Raises:
        UnsafeArchive: it names none, or files that are not in the folder.
    """
    try:
        meta = yaml.safe_load((folder / META).read_text(encoding="utf-8"))
        names = [meta["yaml_files"]["train_config"], meta["files"]["model_file"]]
        paths = [PurePosixPath(name) for name in names]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UnsafeArchive(f"{folder / META} names no train_config and model_file") from error
    for path in paths:
        if path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
            raise UnsafeArchive(f"{folder / META} names {str(path)!r}, which is not inside")
    return folder / paths[0], folder / paths[1]
