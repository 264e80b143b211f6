"""The challenge's submission: one zip of FLAC files and README.yaml, and what can be wrong with it.

`README.yaml` and `enhanced/<id>.flac`: 16 bit, mono, the noisy file's name, rate and length; less
than 300 MB; no hidden file.
"""

import io
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
import yaml

from espnet_hybridse.fileio.decode import read_info, read_samples
from espnet_hybridse.fileio.formats import BadAudio, shown
from espnet_hybridse.fileio.lists import atomic_path

MAX_BYTES = 300 * 10**6
FOLDER = "enhanced"
README = "README.yaml"
TEMPLATE = {
    "team": "",
    "system": "espnet_hybridse",
    "track": 1,
    "description": "discriminative and generative branches, fused bin by bin",
    "training_data": "",
    "parameters_in_millions": "",
    "contact": "",
}
"""Fields of README.yaml where no template of the challenge is given; empty ones must be filled."""


def make_readme(template: Mapping[str, object], facts: Mapping[str, str]) -> str:
    """README.yaml's text, all fields filled.

    Raises:
        ValueError: a fact that is no field, or a field left empty.
    """
    unknown = facts.keys() - template.keys()
    if unknown:
        raise ValueError(f"--fact {min(unknown)}: not one of {', '.join(template)}")
    filled = {**template, **facts}
    empty = [name for name, value in filled.items() if value in ("", None)]
    if empty:
        raise ValueError(f"README.yaml: {', '.join(empty)} empty; give --fact {empty[0]}=…")
    return yaml.safe_dump(filled, sort_keys=False, allow_unicode=True)


def write_submission(
    enhanced: Mapping[str, str], noisy: Mapping[str, str], readme: str, path: Path
) -> None:
    """Write the zip; every file is brought to 16-bit FLAC, its length and rate left alone.

    Args:
        enhanced: id -> file.
        noisy: id -> the file it was made from; every one is needed.
        readme: text of README.yaml.
        path: of the zip.

    Raises:
        ValueError: names the first files that are missing, or what a file is that it must not be.
    """
    missing = sorted(noisy.keys() - enhanced.keys())
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(noisy)} files were not enhanced, such as {missing[0]}; see "
            "quarantine.tsv beside them and run hybridse enhance again"
        )
    with atomic_path(path) as tmp:
        with zipfile.ZipFile(tmp, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(README, readme)
            for uid in sorted(noisy):
                archive.writestr(f"{FOLDER}/{uid}.flac", _flac(enhanced[uid]))
        problems = check_submission(tmp, noisy)
        if problems:
            raise ValueError("; ".join(problems[:5]))


def _flac(path: str) -> bytes:
    try:
        info = read_info(path)
        if (info.container, info.subtype) == ("FLAC", "PCM_16") and os.path.isfile(path):
            return Path(path).read_bytes()
        samples, fs = read_samples(path)
    except BadAudio as error:
        raise ValueError(f"{shown(path)}: {error}; run hybridse enhance again") from error
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples.T, -1.0, 1.0), fs, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def check_submission(path: Path, noisy: Mapping[str, str]) -> list[str]:
    """Every rule that a zip breaks, one line each; none when it can be handed in.

    Args:
        path: of the zip.
        noisy: id -> noisy file.
    """
    problems: list[str] = []
    size = path.stat().st_size
    if size >= MAX_BYTES:
        problems.append(f"{size / 1e6:.1f} MB, less than {MAX_BYTES / 1e6:.0f} MB allowed")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        return [*problems, f"not a zip ({error})"]
    with archive:
        entries = {}
        for info in archive.infolist():
            name = PurePosixPath(info.filename)
            if info.filename in entries:
                problems.append(f"{info.filename} stands twice")
            entries[info.filename] = info
            if name.is_absolute() or ".." in name.parts or stat.S_ISLNK(info.external_attr >> 16):
                problems.append(f"{info.filename}: a path out of the zip or a link")
            elif any(part.startswith(".") or part == "__MACOSX" for part in name.parts):
                problems.append(f"{info.filename}: hidden file")
            elif not info.filename.endswith("/") and not _expected(name, noisy):
                problems.append(f"{info.filename}: neither {README} nor {FOLDER}/<id>.flac")
        problems += _check_readme(archive, entries)
        for uid in sorted(noisy):
            name = f"{FOLDER}/{uid}.flac"
            if name not in entries:
                problems.append(f"{name} is missing")
            else:
                problems += [f"{name}: {text}" for text in _check_audio(archive, name, noisy[uid])]
    return problems


def _expected(name: PurePosixPath, noisy: Mapping[str, str]) -> bool:
    if str(name) == README:
        return True
    return (
        len(name.parts) == 2
        and name.parts[0] == FOLDER
        and (name.suffix == ".flac" and name.stem in noisy)
    )


def _check_readme(archive: zipfile.ZipFile, entries: Mapping[str, object]) -> list[str]:
    if README not in entries:
        return [f"{README} is missing at the top of the zip"]
    try:
        fields = yaml.safe_load(archive.read(README).decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error) as error:
        return [f"{README}: not YAML ({' '.join(str(error).split())[:100]})"]
    if not isinstance(fields, dict):
        return [f"{README}: holds {type(fields).__name__}, expected 'field: value' lines"]
    return [f"{README}: {name} is empty" for name, value in fields.items() if value in ("", None)]


def _check_audio(archive: zipfile.ZipFile, name: str, noisy: str) -> list[str]:
    try:
        before = read_info(noisy, exact=True)
    except BadAudio as error:
        return [f"its noisy file {shown(noisy)} cannot be read ({error})"]
    try:
        with archive.open(name) as member:
            buffer = io.BytesIO()
            shutil.copyfileobj(member, buffer)
        buffer.seek(0)
        with soundfile.SoundFile(buffer) as file:
            kind, shape = (file.format, file.subtype), (file.samplerate, file.channels)
            wav = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        # Without libsndfile's name of the buffer, which tells nobody anything.
        return [f"unreadable ({getattr(error, 'error_string', error)})"]
    problems = []
    if kind != ("FLAC", "PCM_16"):
        problems.append(f"{kind[0]} {kind[1]}, expected FLAC PCM_16")
    if shape[1] != 1:
        problems.append(f"{shape[1]} channels, expected 1")
    if shape[0] != before.fs:
        problems.append(f"{shape[0]} Hz, its noisy file has {before.fs} Hz")
    if len(wav) != before.frames:
        problems.append(f"{len(wav)} samples, its noisy file has {before.frames}")
    return problems
