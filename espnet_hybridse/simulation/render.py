"""Rendering of a whole set: parallel, resumable, bad sources set aside, a few samples at a time."""

import filecmp
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.fileio.audio import write_audio
from espnet_hybridse.fileio.lists import Quarantine
from espnet_hybridse.fileio.shards import Shard
from espnet_hybridse.simulation.degrade import BadSource, simulate
from espnet_hybridse.simulation.executors import open_executor, run_all
from espnet_hybridse.simulation.meta import Sample, iter_meta, write_meta
from espnet_hybridse.simulation.set_lists import (
    RenderedFiles,
    audio_bytes,
    check_disk,
    write_lists,
)
from espnet_hybridse.simulation.sources import Sources

Row = tuple[str, str, str]


LOG_SECONDS = 30.0


@dataclass(frozen=True)
class RenderSummary:
    """Counts of one run, the seconds it took, and the list that says why, if any was set aside."""

    rendered: int
    kept: int
    quarantined: int
    seconds: float
    quarantine: Path | None = None

    def __str__(self) -> str:
        rate = self.rendered / max(self.seconds, 1e-9)
        return (
            f"{self.rendered} rendered ({rate:.1f} utt/s), {self.kept} were there already, "
            f"{self.quarantined} quarantined"
            + (f": {self.quarantine} says why" if self.quarantined and self.quarantine else "")
        )


def write_parameters(samples: Iterable[Sample], out: str | Path) -> int:
    """Write out/meta.tsv and return the number of samples.

    Audio of samples whose parameters changed is removed first.
    """
    path = Path(out) / "meta.tsv"
    new = path.with_name(f".tmp-{os.getpid()}-meta.tsv")
    try:
        count = write_meta(new, samples)
        if path.is_file() and filecmp.cmp(path, new, shallow=False):
            return count
        if path.is_file():
            _remove_stale(path, new)
        (path.parent / "wav.scp").unlink(missing_ok=True)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return count


def _remove_stale(old: Path, new: Path) -> None:
    # Hashes instead of samples: a set may have millions.
    kept = {sample.id: hash(sample) for sample in iter_meta(new)}
    count = 0
    for sample in iter_meta(old):
        if kept.get(sample.id) != hash(sample):
            Path(sample.noisy_path).unlink(missing_ok=True)
            Path(sample.clean_path).unlink(missing_ok=True)
            count += 1
    if count:
        logging.info("parameters of %d samples changed: rendered again", count)


def render(
    samples: Iterable[Sample],
    sources: Sources,
    out: str | Path,
    nj: int = 1,
    bad_sources: Iterable[Row] = (),
    **options,
) -> RenderSummary:
    """:func:`write_parameters`, then :func:`render_set`, which explains the arguments."""
    write_parameters(samples, out)
    return render_set(sources, out, nj, bad_sources, **options)


def render_set(
    sources: Sources,
    out: str | Path,
    nj: int = 1,
    bad_sources: Iterable[Row] = (),
    split: str | None = None,
    executor: str = "processes",
    scheduler: str | None = None,
) -> RenderSummary:
    """Render what is missing of out/meta.tsv, then write the lists of `out`.

    Each file is renamed into place, noisy after clean, so a sample is complete when its noisy
    file exists. wav.scp is written last of all: it marks the set as finished. With `split`, lists
    are left to a later run without it, which also gives what failed another chance.

    Args:
        bad_sources: rows (uid, path, reason) found earlier, for the same quarantine.tsv.
        split: "i/n": every n-th sample only, for array jobs.
        executor, scheduler: see :func:`open_executor`.

    Raises:
        ListError: no meta.tsv, or it names nothing.
        ValueError: a wrong split, executor or scheduler, or nothing could be rendered.
        RuntimeError: the disk is too small.
    """
    shard, out = Shard(split), Path(out)
    start = time.monotonic()
    meta, bad_sources = out / "meta.tsv", list(bad_sources)
    total, missing, needed = _survey(meta, shard)
    kept = total - missing
    if not missing and shard.whole and (out / "wav.scp").is_file():
        return RenderSummary(0, kept, len(bad_sources), time.monotonic() - start)
    check_disk(out, needed)
    if shard.whole:
        _remove_leftovers(out)
    quarantine = Quarantine(out / f"quarantine{shard.suffix}.tsv")
    quarantine.extend(bad_sources)
    rendered = 0
    todo = ((sample, sources.only(sample)) for sample in _missing(meta, shard))
    parallel = missing > 1 and (nj > 1 or executor != "processes")
    pool = open_executor(executor, nj, scheduler) if parallel else nullcontext()
    # A bar on a terminal, a line now and then in a log.
    every_s = 0.5 if sys.stderr.isatty() else LOG_SECONDS
    name = f"render {out.name}{shard.suffix}"
    bar = tqdm(total=missing, desc=name, unit="utt", mininterval=every_s)
    with pool as workers, bar as progress:
        for bad in run_all(render_samples, todo, missing, workers, nj):
            progress.update()
            if bad:
                quarantine.add(*bad)
            else:
                rendered += 1
    # A set that `hybridse check` has cleaned stays cleaned when there was nothing new to render.
    if shard.whole and (rendered or not (out / "wav.scp").is_file()):
        files = RenderedFiles()
        if not any(map(files.has, iter_meta(meta))):
            raise ValueError(f"{out}: no sample could be rendered; {quarantine.path} says why")
        write_lists(filter(files.has, iter_meta(meta)), out)
        for part in out.glob("quarantine.*of*.tsv"):
            part.unlink()
    seconds = time.monotonic() - start
    return RenderSummary(rendered, kept, quarantine.count, seconds, quarantine.path)


def _survey(meta: Path, shard: Shard) -> tuple[int, int, float]:
    """Samples of this job, those among them that are missing, and bytes missing in all jobs."""
    files = RenderedFiles()
    total = missing = 0
    needed = 0.0
    for number, sample in enumerate(iter_meta(meta)):
        mine = number % shard.count == shard.index - 1
        total += mine
        if not files.has(sample):
            missing += mine
            needed += audio_bytes(sample)
    return total, missing, needed


def _missing(meta: Path, shard: Shard) -> Iterator[Sample]:
    files = RenderedFiles()
    for number, sample in enumerate(iter_meta(meta)):
        if number % shard.count == shard.index - 1 and not files.has(sample):
            yield sample


def _remove_leftovers(out: Path) -> None:
    """Delete temporary files of killed runs; not in array jobs, whose neighbours are writing."""
    for pattern in (".tmp-*", "noisy/.tmp-*", "clean/.tmp-*", "noisy/*/.tmp-*", "clean/*/.tmp-*"):
        for leftover in out.glob(pattern):
            leftover.unlink(missing_ok=True)


def render_samples(tasks: list[tuple[Sample, Sources]]) -> list[Row | None]:
    """Render several samples; a bad source comes back as a quarantine row."""
    return [render_sample(sample, sources) for sample, sources in tasks]


def render_sample(sample: Sample, sources: Sources) -> Row | None:
    """Write one sample's two files; a bad source comes back as a quarantine row."""
    try:
        noisy, clean = simulate(sample, sources)
    except BadSource as error:
        return sample.id, error.path, str(error)
    write_audio(sample.clean_path, clean, sample.fs)
    write_audio(sample.noisy_path, noisy, sample.fs)
    return None
