"""From repositories to files on disk: which sources are there, and their audio extracted."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.corpora.open.repositories import Repository, RepositoryError, find_git_dir
from espnet_hybridse.corpora.open.table import SOURCES, Source
from espnet_hybridse.fileio.lists import atomic_path


@dataclass
class Fetched:
    """What one source gave: audio files (each content once), and what was left out.

    root: folder that holds the repository's files under their own paths
    """

    source: Source
    root: Path
    audio: list[Path] = field(default_factory=list)
    missing: int = 0
    duplicates: int = 0


def fetch_sources(
    repositories: Path, downloads: Path, sources: Sequence[Source] = SOURCES
) -> list[Fetched]:
    """Extract the audio of every source that `repositories` holds to downloads/repositories.

    Sources that are missing are named with the `git clone` lines that bring them. A file whose
    content was met before, in any source, is left out.

    Raises:
        RepositoryError: no such folder, or there is no speech or no noise in it.
    """
    if not repositories.is_dir():
        raise RepositoryError(
            f"--repositories {repositories}: no such folder; make it, and clone into it:\n"
            + clone_lines(sources, repositories)
        )
    seen: set[str] = set()
    done: list[Fetched] = []
    absent: list[Source] = []
    for source in tqdm(sources, "repositories"):
        git_dir = find_git_dir(repositories, source.name)
        try:
            if git_dir is None:
                raise RepositoryError("not there")
            done.append(_fetch(Repository(git_dir, source.commit), source, downloads, seen))
        except RepositoryError as error:
            absent.append(source)
            if git_dir is not None:
                logging.warning("%s: left out: %s", source.name, error)
    if absent:
        logging.warning(
            "%d of %d repositories are not in %s and left out; they come with\n%s",
            len(absent),
            len(sources),
            repositories,
            clone_lines(absent, repositories),
        )
    for kind in ("speech", "noise"):
        if not any(fetched.audio for fetched in done if fetched.source.kind == kind):
            raise RepositoryError(
                f"--repositories {repositories}: no {kind} in it; at least one of these is "
                "needed:\n" + clone_lines([s for s in sources if s.kind == kind], repositories)
            )
    return done


def clone_lines(sources: Sequence[Source], repositories: Path) -> str:
    """The commands that bring these sources, one a line."""
    return "\n".join(
        f"  git clone --bare {source.url} {repositories}/{source.folder}"
        for source in {source.name: source for source in sources}.values()
    )


def _fetch(repository: Repository, source: Source, downloads: Path, seen: set[str]) -> Fetched:
    fetched = Fetched(source, downloads / "repositories" / source.folder)
    wanted = []
    for blob in repository.files(source.paths, source.without):
        if blob.size < 0:
            fetched.missing += 1
        elif blob.sha in seen:
            fetched.duplicates += 1
        else:
            seen.add(blob.sha)
            wanted.append(blob)
    if fetched.missing:
        logging.warning("%s: %d files are not in the repository", source.name, fetched.missing)
    fetched.audio = repository.extract(wanted, fetched.root)
    repository.extract(repository.files((*source.texts, source.licence_file)), fetched.root)
    return fetched


def copy_licences(fetched: Sequence[Fetched], out: Path) -> list[str]:
    """Copy each source's own licence text to out/LICENSES and return the rows of their table."""
    rows = []
    for item in fetched:
        source = item.source
        text = item.root / source.licence_file
        if not text.is_file():
            raise RepositoryError(f"{text}: no licence text; is {source.name} complete?")
        with atomic_path(out / "LICENSES" / source.folder) as tmp:
            shutil.copyfile(text, tmp)
        rows.append(
            f"| [{source.name}]({source.url}) | {source.commit[:7]} | {source.licence} | "
            f"{source.kind} |"
        )
    return rows
