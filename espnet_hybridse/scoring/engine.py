"""Score every enhanced file once, with every metric, in parallel and resumably."""

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.fileio.decode import container_of
from espnet_hybridse.fileio.formats import shown
from espnet_hybridse.fileio.lists import PathLike, Quarantine, read_list, write_json
from espnet_hybridse.fileio.shards import Shard
from espnet_hybridse.scoring.inputs import audio_tables
from espnet_hybridse.scoring.jobs import Job
from espnet_hybridse.scoring.metrics.metric import Setup
from espnet_hybridse.scoring.metrics.registry import METRICS, check_keys, select
from espnet_hybridse.scoring.processes import run_jobs
from espnet_hybridse.scoring.rows import append_row, compact, read_quarantine, read_rows

SHARD = re.compile(r"scores\.\d+of\d+\.jsonl")
BATCH = {"cpu": 1, "cuda": 8}
"""Files that a network scores at once. On CPU more of them gain nothing: it is busy with one."""


@dataclass(frozen=True)
class ScoringSummary:
    """What one run of `score` did."""

    scored: int
    skipped: int
    quarantined: int
    columns: list[str]
    unavailable: dict[str, str]
    quarantine: Path

    def __str__(self) -> str:
        where = f" ({self.quarantine})" if self.quarantined else ""
        return (
            f"scored {self.scored}, already scored {self.skipped}, "
            f"quarantined {self.quarantined}{where}; columns: {', '.join(self.columns)}"
        )


def score(
    ref: PathLike | None,
    inf: PathLike,
    out_dir: PathLike,
    metrics: Sequence[str] = ("all",),
    text: PathLike | None = None,
    utt2lang: PathLike | None = None,
    nj: int = 2,
    device: str = "cpu",
    batch: int | None = None,
    models: Mapping[str, str] | None = None,
    split: str | None = None,
    in_loss: Sequence[str] = (),
) -> ScoringSummary:
    """Score `inf` against `ref` (None: metrics without a reference only).

    Both are lists, folders or single files. Files of several channels are scored channel by
    channel, against those of the reference or against its only one; their values are means.

    Leaves `scores.jsonl` (one line an utterance as soon as it is scored), `quarantine.tsv` and
    `scoring.json` in `out_dir`. Run again, it scores what is missing and what has changed since:
    an utterance is known by the size and time of its files and by its transcript.

    Args:
        nj: processes. A metric that crashes ends its process and costs one value; with 0 all is
            done in this one, which starts at once and has no such protection.
        device: of the networks: cpu, cuda or cuda:N.
        batch: files that a network scores at once; else 8 on a GPU and 1 on CPU.
        models: key of a metric -> folder, file or model id in place of its official one.
        split: "i/n": every n-th utterance only, for array jobs, into `scores.iofn.jsonl`. A run
            without it takes over what they did and does the rest.
        in_loss: columns that the system was trained on; tables mark them.

    Raises:
        ListError: a list is missing or malformed, or a folder has no audio.
        ValueError: an unknown metric, nj < 0, batch < 1, a wrong split, no metric that can run, or
            no utterance in common.
        RuntimeError: not one file could be scored; the quarantine has the reasons.
    """
    batch = BATCH[device.partition(":")[0]] if batch is None else batch
    for name, value, least in (("nj", nj, 0), ("batch", batch, 1)):
        if value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    shard, setup = Shard(split), Setup(device, check_keys(models or {}))
    columns, unavailable = usable(select(metrics), ref is not None, setup)
    mine, clean, texts, langs = read_lists(inf, ref, text, utt2lang)

    out_dir = Path(out_dir)
    uids = shard.cut({**clean, **mine})
    quarantine = Quarantine(out_dir / f"quarantine{shard.suffix}.tsv")
    for uid in sorted(uids.keys() - mine.keys()):
        quarantine.add(uid, clean[uid], f"not in {inf}: never enhanced")
    rows_path = out_dir / f"scores{shard.suffix}.jsonl"
    compact(rows_path, uids, shard_rows(out_dir) if shard.whole else ())
    rows = read_rows(out_dir / "scores.jsonl", rows_path)
    jobs, skipped = [], 0
    for uid in sorted(uids.keys() & mine.keys()):
        if ref is not None and uid not in clean:
            quarantine.add(uid, mine[uid], f"not in {ref}: no reference")
            continue
        job = Job(uid, mine[uid], clean.get(uid), texts.get(uid), langs.get(uid), (), "", setup)
        stamp = make_stamp(job)
        row = rows.get(uid)
        done = done_columns(row, setup) if row and row["stamp"] == stamp else ()
        missing = tuple(name for name in columns if name not in done)
        if missing:
            lists = (job.inf_path, job.ref_path, job.text, job.lang)
            jobs.append(Job(uid, *lists, missing, stamp, setup))
        else:
            skipped += 1
    write_json(
        out_dir / "scoring.json",
        {
            "ref_scp": str(ref) if ref is not None else None,
            "inf_scp": str(inf),
            "columns": {name: METRICS[name].source for name in columns},
            "unavailable": unavailable,
            "models": dict(setup.models),
            "in_loss": list(in_loss),
        },
    )

    scored: set[str] = set()
    bad: set[str] = set()
    with (
        open(rows_path, "a", encoding="utf-8") as handle,
        tqdm(total=len(jobs), desc="score", unit="utt") as bar,
    ):
        for job, result in run_jobs(jobs, nj, batch):
            if not isinstance(result, str):
                append_row(handle, result)
                scored.add(job.uid)
            elif job.uid not in bad:
                quarantine.add(job.uid, job.inf_path, result)
                bad.add(job.uid)
            bar.update(len(scored | bad) - bar.n)
    compact(rows_path, uids)
    summary = ScoringSummary(
        len(scored), skipped, quarantine.count, columns, unavailable, quarantine.path
    )
    if uids and not scored and not skipped:
        *_, reason = read_quarantine(quarantine.path).values()
        raise RuntimeError(
            f"none of {len(uids)} files could be scored (e.g. {reason}); {quarantine.path} "
            "has the reasons"
        )
    return summary


def read_lists(
    inf: PathLike, ref: PathLike | None, *others: PathLike | None
) -> list[dict[str, str]]:
    """What is scored, its references, then the other lists, each empty where there is none.

    Raises:
        ListError: a list is missing or malformed.
        ValueError: one of the others has no utterance of the first.
    """
    mine, clean = audio_tables(inf, ref)
    tables = [clean, *(read_list(path) if path else {} for path in others)]
    for path, table in zip((ref, *others), tables, strict=True):
        if path and not table.keys() & mine.keys():
            raise ValueError(
                f"{path} and {inf} have no utterance in common ({min(table)}, … and {min(mine)}, "
                "…); check the keys, or the names of the files"
            )
    return [mine, *tables]


def shard_rows(out_dir: Path) -> list[Path]:
    """The rows of array jobs in `out_dir`."""
    return sorted(p for p in out_dir.glob("scores.*.jsonl") if SHARD.fullmatch(p.name))


def done_columns(row: Mapping, setup: Setup) -> set[str]:
    """The columns of a row that were computed with the weights asked for now."""
    models = row.get("models", {})
    return {n for n in row["scores"] if models.get(n) == setup.models.get(METRICS[n].key)}


def usable(
    columns: Sequence[str], has_reference: bool, setup: Setup
) -> tuple[list[str], dict[str, str]]:
    """Split `columns` into those that can run and {column: reason} of those that cannot."""
    unavailable: dict[str, str] = {}
    for name in columns:
        reason = METRICS[name].available(setup)
        if METRICS[name].needs_reference and not has_reference:
            reason = "needs clean references; pass --ref"
        if reason:
            unavailable[name] = reason
            logging.warning("no column %s: %s", name, reason)
    chosen = [name for name in columns if name not in unavailable]
    if not chosen:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unavailable.items())
        raise ValueError(f"no metric can run: {reasons or 'none was named'}")
    return chosen, unavailable


def make_stamp(job: Job) -> str:
    """A short hash that changes when a file, the transcript or the language does."""
    parts = [job.text, job.lang]
    for path in (job.inf_path, job.ref_path):
        try:
            status = os.stat(container_of(path)) if path else None
        except OSError:
            status = None
        parts.append((path and shown(path), status.st_size, status.st_mtime_ns) if status else None)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
