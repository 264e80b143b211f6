"""A folder of results that goes on where an earlier run stopped, if that had the same settings."""

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from espnet_hybridse.fileio.formats import shown
from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.fileio.shards import Shard
from espnet_hybridse.inference.files.jobs import Job
from espnet_hybridse.model.files import WEIGHTS_STAMP

LOCK = ".lock"


def identity_of(weights: Sequence[Path], settings: Mapping[str, object]) -> str:
    """What results depend on: the weights' files and times, and settings that are not the defaults.

    Args:
        weights: files.
        settings: name -> value of those that were changed.
    """
    files = [f"{path.resolve()} {path.stat().st_mtime_ns}" for path in weights]
    return shown("\n".join([*files, *(f"{name} {value}" for name, value in settings.items())]))


@contextmanager
def resumed(
    out: Path, jobs: list[Job], identity: str, overwrite: bool, shard: Shard | None = None
) -> Iterator[float]:
    """Hold `out` for this run; yield the time from which on what is there has these settings.

    What other weights or settings wrote is removed, and so is what a killed run left half-written.

    Args:
        out: the folder.
        jobs: of this run.
        identity: of :func:`identity_of`.
        overwrite: whether nothing that is there is kept.
        shard: which of several runs over the same jobs this is; None is the only one.

    Raises:
        ValueError: another run is at work there, or it holds results that no run wrote.
    """
    stamp = out / WEIGHTS_STAMP
    there = [job for job in jobs if os.path.isfile(job.target)]
    if there and not stamp.is_file() and not overwrite:
        raise ValueError(
            f"{out} holds {len(there)} files, such as {shown(there[0].target.name)}, that no run "
            "of this command wrote; take another OUT or pass --overwrite"
        )
    with only_run_in(out, shard):
        current = stamp.is_file() and stamp.read_text(encoding="utf-8") == identity
        if overwrite or not current:
            for job in there:
                job.target.unlink(missing_ok=True)
        if not current:
            # Kept where nothing changed: its time tells what other settings wrote before, of files
            # that were not part of the run which brought these.
            with atomic_path(stamp) as tmp:
                tmp.write_text(identity, encoding="utf-8")
        yield stamp.stat().st_mtime


@contextmanager
def only_run_in(out: Path, shard: Shard | None = None) -> Iterator[None]:
    """Hold `out` for this run; what a killed one left half-written is removed.

    Runs over shards share the folder with each other, not with a run over the whole: each holds a
    lock of its own, and all of them that of the folder.

    Raises:
        ValueError: another run is at work there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        if shard is None or shard.whole:
            _lock(held.enter_context(open(out / LOCK, "w")), out, fcntl.LOCK_EX)
            # Of a shard's own run it cannot be told whose a half-written file is.
            for rest in out.rglob(".tmp-*"):
                rest.unlink(missing_ok=True)
        else:
            _lock(held.enter_context(open(out / LOCK, "w")), out, fcntl.LOCK_SH)
            own = open(out / (LOCK + shard.suffix), "w")
            _lock(held.enter_context(own), out, fcntl.LOCK_EX)
        yield


def _lock(handle: IO[str], out: Path, kind: int) -> None:
    try:
        # Released by the system however this process ends.
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(f"{out}: another run writes there; wait for it or end it") from error
    except OSError as error:
        # Lustre and some NFS know no locks: two runs at once are then the user's to avoid.
        logging.warning("%s: no lock (%s); let no other run write there", out, error.strerror)


def take_in_shards(out: Path, record: Path, quarantine: Path) -> None:
    """Put what the runs over shards recorded into the records of the whole.

    Their quarantine lists go: a run over the whole tries those files again.
    """
    for path in sorted(out.glob(f"{record.stem}.*of*{record.suffix}")):
        with open(record, "ab") as whole:
            whole.write(path.read_bytes())
        path.unlink()
    for pattern in (f"{quarantine.stem}.*of*{quarantine.suffix}", f"{LOCK}.*of*"):
        for path in out.glob(pattern):
            path.unlink()
