"""Reading files out of git repositories, bare or not, without a work tree."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


class RepositoryError(ValueError):
    """A repository cannot be read; the message says which and what to do."""


@dataclass(frozen=True)
class Blob:
    """One file of a commit: its path there, object id (a hash of its content) and bytes.

    size: -1 where the repository lacks the object (a partial clone or a thinned mirror).
    """

    path: str
    sha: str
    size: int


def find_git_dir(repositories: Path, name: str) -> Path | None:
    """The git directory of `owner/name` below `repositories`, or None.

    Clones (`name`, `owner+name`, `owner/name`, each also with `.git` at the end or a `repo`
    folder within) and bare mirrors are found.
    """
    owner, _, short = name.partition("/")
    for stem in (short, f"{owner}+{short}", name):
        for folder in (stem, f"{stem}.git", f"{stem}/repo"):
            for git_dir in (repositories / folder / ".git", repositories / folder):
                if (git_dir / "HEAD").is_file() and (git_dir / "objects").is_dir():
                    return git_dir
    return None


class Repository:
    """The files of one commit of a git repository.

    Raises:
        RepositoryError: git is not installed, or the commit is not there.
    """

    def __init__(self, git_dir: Path, commit: str):
        self.git_dir, self.commit = git_dir, commit
        found = self._run("cat-file", "-t", commit)
        if found.returncode or found.stdout.strip() != b"commit":
            raise RepositoryError(
                f"{git_dir}: no commit {commit}; the clone may be shallow or old: "
                f"git --git-dir {git_dir} fetch origin {commit}"
            )

    def files(self, patterns: Sequence[str], without: Sequence[str] = ()) -> list[Blob]:
        """Files whose path matches one of `patterns` and none of `without`, sorted by path.

        `*` matches slashes too.
        """
        listing = self._run("ls-tree", "-r", "-z", "-l", self.commit)
        if listing.returncode:
            raise RepositoryError(f"{self.git_dir}: {listing.stderr.decode().strip()}")
        blobs = []
        for line in filter(None, listing.stdout.split(b"\0")):
            head, path = line.split(b"\t", 1)
            _, kind, sha, size = head.decode().split()
            name = path.decode("utf-8", errors="surrogateescape")
            wanted = any(fnmatchcase(name, pattern) for pattern in patterns)
            if kind == "blob" and wanted and not any(fnmatchcase(name, p) for p in without):
                blobs.append(Blob(name, sha, int(size) if size.isdigit() else -1))
        return sorted(blobs, key=lambda blob: blob.path)

    def read(self, path: str) -> bytes:
        """Content of one file.

        Raises:
            RepositoryError: no such file, or its object is missing.
        """
        done = self._run("cat-file", "blob", f"{self.commit}:{path}")
        if done.returncode:
            raise RepositoryError(f"{self.git_dir}: {path}: {done.stderr.decode().strip()}")
        return done.stdout

    def extract(self, blobs: Iterable[Blob], folder: Path) -> list[Path]:
        """Write files to `folder`, each atomically and once; returns those that are there then.

        Objects that the repository lacks are left out.
        """
        blobs = [blob for blob in blobs if blob.size >= 0]
        paths = {blob: folder / blob.path for blob in blobs}
        todo = [
            blob
            for blob, path in paths.items()
            if not (path.is_file() and path.stat().st_size == blob.size)
        ]
        for blob, content in zip(todo, self._contents(todo), strict=True):
            if content is None:
                del paths[blob]
                continue
            path = paths[blob]
            path.parent.mkdir(parents=True, exist_ok=True)
            tmp = path.with_name(f".tmp-{os.getpid()}-{blob.sha[:12]}")
            tmp.write_bytes(content)
            os.replace(tmp, path)
        return list(paths.values())

    def _contents(self, blobs: Sequence[Blob]) -> Iterator[bytes | None]:
        """Contents in order through one `git cat-file --batch`; None for a missing object."""
        if not blobs:
            return
        command = [_git(), "--git-dir", str(self.git_dir), "cat-file", "--batch"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            for blob in blobs:
                process.stdin.write(f"{blob.sha}\n".encode())
                process.stdin.flush()
                head = process.stdout.readline().split()
                if len(head) < 3:  # "<sha> missing"
                    yield None
                    continue
                content = process.stdout.read(int(head[2]))
                process.stdout.read(1)
                yield content
            process.stdin.close()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [_git(), "--git-dir", str(self.git_dir), *arguments]
        return subprocess.run(command, capture_output=True)


def _git() -> str:
    program = shutil.which("git")
    if program is None:
        raise RepositoryError("the program 'git' is not installed; install it and run again")
    return program
