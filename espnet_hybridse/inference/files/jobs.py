"""What `hybridse enhance` is to do: which files, and where their results go."""

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

from espnet_hybridse.fileio.lists import read_list, write_list

CONTAINERS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".mp3": "MP3",
    ".opus": "OGG",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".w64": "W64",
    ".rf64": "RF64",
    ".au": "AU",
    ".caf": "CAF",
}
"""Endings that are audio, and libsndfile's names of their containers."""
AUDIO_SUFFIXES = tuple(CONTAINERS)


@dataclass(frozen=True)
class Job:
    """One file to enhance."""

    uid: str
    source: Path
    target: Path


def plan_jobs(
    source: Path, out: Path, max_utts: Optional[int] = None, suffix: Optional[str] = None
) -> List[Job]:
    """The files that `source` names and where their results go.

    A list (`*.scp`) gives `out/wav/<uid>.flac`; a folder or a pattern (`*`, `?`, `[…]`, `**`) keeps
    its structure and endings; a file goes to `out` itself, or into it when `out` is a folder.
    Hidden files and what lies in `out` are left alone.

    Args:
        source: file, folder, pattern or list.
        out: file or folder to write.
        max_utts: only the first so many.
        suffix: ending of the results, as ".flac", instead of the sources'.

    Raises:
        FileNotFoundError: there is no such input, or a folder without audio.
        ValueError: an ending that is no audio file's, a key of a list that leaves `out`, two files
            with one result, or a file that would be overwritten with its own result.
    """
    if suffix is not None and suffix not in CONTAINERS:
        raise ValueError(f"{suffix!r} is not one of {', '.join(AUDIO_SUFFIXES)}")
    if source.suffix == ".scp":
        jobs = _of_list(source, out, suffix or ".flac")
    elif source.is_dir():
        jobs = _of_files(sorted(source.rglob("*")), source, out, suffix)
    elif source.is_file():
        jobs = [_of_file(source, out, suffix)]
    elif glob.has_magic(str(source)):
        found = sorted(Path(name) for name in glob.glob(str(source), recursive=True))
        jobs = _of_files(found, _fixed_part(source), out, suffix)
    else:
        raise FileNotFoundError(
            f"{source}: no such file, folder or list (.scp), and no pattern either"
        )
    if not jobs:
        raise FileNotFoundError(f"{source}: no audio ({', '.join(AUDIO_SUFFIXES)}) there")
    _check(jobs)
    return jobs[:max_utts]


def _of_list(source: Path, out: Path, suffix: str) -> List[Job]:
    table = read_list(source)
    for uid in table:
        if os.path.isabs(uid) or ".." in Path(uid).parts:
            raise ValueError(f"{source}: key {uid!r} would be written outside of {out}")
    return [Job(uid, Path(table[uid]), out / "wav" / f"{uid}{suffix}") for uid in sorted(table)]


def _of_files(files: List[Path], root: Path, out: Path, suffix: Optional[str]) -> List[Job]:
    own, jobs = out.resolve(), []
    inside = own != root.resolve() and root.resolve() in own.parents
    for path in files:
        name = path.relative_to(root)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or path.suffix.lower() not in CONTAINERS or path.is_dir():
            continue
        if inside and own in path.resolve().parents:
            continue
        jobs.append(Job(str(name), path, out / (name.with_suffix(suffix) if suffix else name)))
    return jobs


def _of_file(source: Path, out: Path, suffix: Optional[str]) -> Job:
    if out.is_dir() or not out.suffix:
        name = Path(source.name)
        return Job(source.stem, source, out / (name.with_suffix(suffix) if suffix else name))
    if out.suffix.lower() not in CONTAINERS:
        raise ValueError(
            f"{out}: {out.suffix} is no audio file's ending; use one of {', '.join(AUDIO_SUFFIXES)}"
        )
    return Job(source.stem, source, out)


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed) if fixed else Path(".")


def _check(jobs: List[Job]) -> None:
    taken: Dict[Path, Path] = {}
    for job in jobs:
        other = taken.setdefault(job.target, job.source)
        if other != job.source:
            raise ValueError(f"{other} and {job.source} would both be written to {job.target}")
        if job.target.exists() and job.source.exists() and job.target.samefile(job.source):
            raise ValueError(
                f"{job.target}: IN and OUT are the same; the input would be lost. Take another OUT"
            )


def is_done(job: Job, since: float = 0.0) -> bool:
    """Whether the target is there, newer than its source and not written before `since`."""
    if not job.target.is_file():
        return False
    written = job.target.stat().st_mtime
    return written >= since and (not job.source.is_file() or written >= job.source.stat().st_mtime)


def write_scp(jobs: List[Job], path: Path) -> None:
    """List the targets that exist, `uid path`."""
    write_list(path, {job.uid: job.target for job in jobs if job.target.is_file()})
