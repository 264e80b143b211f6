"""What `hybridse enhance` is to do: which files, and where their results go."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet_hybridse.fileio.decode import container_of, is_there, read_info
from espnet_hybridse.fileio.folders import matching, only_audio, walk
from espnet_hybridse.fileio.formats import (
    AUDIO_SUFFIXES,
    CONTAINERS,
    FALLBACK_SUFFIX,
    UNBOUNDED,
    WRITTEN_SUFFIXES,
    BadAudio,
    is_audio,
    shown,
)
from espnet_hybridse.fileio.lists import read_list, write_list
from espnet_hybridse.fileio.sampling import sample


@dataclass(frozen=True)
class Job:
    """One file to enhance.

    Attributes:
        noise: where to write what is taken away, if anywhere.
    """

    uid: str
    source: Path
    target: Path
    noise: Path | None = None


def plan_jobs(
    sources: Path | Sequence[Path],
    out: Path,
    max_utts: int | None = None,
    suffix: str | None = None,
    others: Counter | None = None,
) -> list[Job]:
    """The files that inputs name and where their results go.

    A list (`*.scp`) gives `out/wav/<uid>.flac`, or `.wav` of what is stored in floating point; a
    folder or a pattern (`*`, `?`, `[…]`, `**`) keeps its structure and endings; a file goes to
    `out` itself, or into it when `out` is a folder or there are several inputs. What cannot be
    written in its own container becomes FLAC. Hidden files and what lies in `out` are left alone.

    Args:
        sources: files, folders, patterns or lists.
        out: file or folder to write.
        max_utts: a random sample of so many, always the same; of a list with `utt2fs` beside it,
            every rate keeps its share.
        suffix: ending of the results, as ".flac", instead of the sources'.
        others: ending -> number of files in folders that are none of audio, added to.

    Raises:
        FileNotFoundError: there is no such input, or a folder without audio.
        ValueError: an ending that is no audio file's, a key of a list that leaves `out`, two files
            with one result, or a file that would be overwritten with its own result.
    """
    if suffix is not None and suffix not in CONTAINERS:
        raise ValueError(f"{suffix!r} is not one of {', '.join(WRITTEN_SUFFIXES)}")
    sources = [sources] if isinstance(sources, Path) else list(sources)
    jobs, others = [], Counter() if others is None else others
    for source in sources:
        found = _jobs_of(source, out, suffix, others, several=len(sources) > 1)
        if not found:
            raise FileNotFoundError(
                f"{shown(source)}: no audio ({', '.join(AUDIO_SUFFIXES)}) there"
            )
        jobs += found
    jobs = _apart(list(dict.fromkeys(jobs)))
    _check(jobs)
    return jobs if max_utts is None else _sampled(jobs, max_utts, sources)


def _sampled(jobs: list[Job], count: int, sources: Sequence[Path]) -> list[Job]:
    rates: dict[str, str] = {}
    for source in sources:
        utt2fs = source.with_name("utt2fs")
        if source.suffix == ".scp" and utt2fs.is_file():
            rates.update(read_list(utt2fs))
    kept = set(sample([job.uid for job in jobs], count, rates))
    return [job for job in jobs if job.uid in kept]


def _jobs_of(
    source: Path, out: Path, suffix: str | None, others: Counter, several: bool
) -> list[Job]:
    if source.suffix == ".scp":
        return _of_list(source, out, suffix)
    if source.is_dir():
        return _of_files(only_audio(walk(source, out), source, others), source, out, suffix)
    if is_there(source):
        return [_of_file(source, out, suffix, several)]
    if glob.has_magic(str(source)):
        root, found = matching(source, out)
        return _of_files(only_audio(found, root, others), root, out, suffix)
    raise FileNotFoundError(
        f"{shown(source)}: no such file, folder or list (.scp), and no pattern either"
    )


def _of_list(source: Path, out: Path, suffix: str | None) -> list[Job]:
    table = read_list(source)
    for uid in table:
        if os.path.isabs(uid) or ".." in Path(uid).parts:
            raise ValueError(f"{source}: key {uid!r} would be written outside of {out}")
    return [
        Job(uid, Path(table[uid]), out / "wav" / f"{uid}{suffix or _ending(table[uid])}")
        for uid in sorted(table)
    ]


def _ending(path: str) -> str:
    """Ending of a list's result, which must hold what may lie above full scale."""
    try:
        return ".wav" if read_info(path).subtype in UNBOUNDED else ".flac"
    except BadAudio:
        return ".flac"


def _of_files(files: Iterable[Path], root: Path, out: Path, suffix: str | None) -> list[Job]:
    return [
        Job(str(path.relative_to(root)), path, out / _renamed(path.relative_to(root), suffix))
        for path in files
    ]


def _of_file(source: Path, out: Path, suffix: str | None, several: bool) -> Job:
    if several or out.is_dir() or not out.suffix:
        return Job(source.stem, source, out / _renamed(Path(source.name), suffix))
    if out.suffix.lower() not in CONTAINERS:
        problem = "cannot be written" if is_audio(out) else "is no audio file's ending"
        raise ValueError(
            f"{shown(out)}: {out.suffix} {problem}; use one of {', '.join(WRITTEN_SUFFIXES)}"
        )
    return Job(source.stem, source, out)


def _renamed(name: Path, suffix: str | None) -> Path:
    """The name of a result, its ending changed where that was asked for or must be."""
    kept = suffix is None and name.suffix.lower() in CONTAINERS
    return name if kept else name.with_suffix(suffix or FALLBACK_SUFFIX)


def _apart(jobs: list[Job]) -> list[Job]:
    """Give results that changed their ending another name where it is taken: a.m4a.flac."""
    taken = Counter(job.target for job in jobs)
    return [
        job
        if taken[job.target] == 1 or job.source.suffix.lower() in CONTAINERS
        else Job(job.uid, job.source, job.target.with_name(job.source.name + job.target.suffix))
        for job in jobs
    ]


def _check(jobs: list[Job]) -> None:
    taken: dict[Path, Path] = {}
    for job in jobs:
        other = taken.setdefault(job.target, job.source)
        if other != job.source:
            raise ValueError(
                f"{shown(other)} and {shown(job.source)} would both be written to "
                f"{shown(job.target)}"
            )
        if (
            os.path.exists(job.target)
            and os.path.exists(job.source)
            and job.target.samefile(job.source)
        ):
            raise ValueError(
                f"{shown(job.target)}: IN and OUT are the same; the input would be lost. Take "
                "another OUT"
            )


def with_noise(jobs: list[Job], out: Path, noise_out: Path) -> list[Job]:
    """The same jobs, with what each takes away written to `noise_out`.

    Args:
        jobs: of :func:`plan_jobs`.
        out: where their results go.
        noise_out: file for one file's job, else a folder with the structure of `out`.

    Raises:
        ValueError: both are the same place.
    """
    if noise_out.resolve() == out.resolve():
        raise ValueError(f"{noise_out}: results and noise would be written to one place")
    if len(jobs) == 1 and jobs[0].target == out and noise_out.suffix.lower() in CONTAINERS:
        return [replace(jobs[0], noise=noise_out)]
    folder = out.parent if jobs and jobs[0].target == out else out
    return [replace(job, noise=noise_out / job.target.relative_to(folder)) for job in jobs]


def is_done(job: Job, since: float = 0.0) -> bool:
    """Whether the target is there, newer than its source and not written before `since`."""
    results = [path for path in (job.target, job.noise) if path is not None]
    if not all(os.path.isfile(path) for path in results):
        return False
    written = min(path.stat().st_mtime for path in results)
    source = Path(container_of(job.source))
    return written >= since and (not source.is_file() or written >= source.stat().st_mtime)


def write_scp(jobs: list[Job], path: Path) -> None:
    """List the targets that exist, `uid path`."""
    write_list(path, {job.uid: job.target for job in jobs if os.path.isfile(job.target)})
