"""Enhancement of many files: in parallel, resumable, one bad file never stops the others."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

import numpy as np
import soundfile
import torch
from tqdm import tqdm

from espnet_hybridse.audio import BadAudio, check_audio, write_audio
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.lists import Quarantine, read_list, write_list
from espnet_hybridse.workers import worker_pool

WEIGHTS_STAMP = ".weights"
"""File beside the outputs of a list or folder that names the weights and settings behind them."""
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif")


@dataclass(frozen=True)
class Job:
    """One file to enhance."""

    uid: str
    source: Path
    target: Path


@dataclass
class Summary:
    """What a run did."""

    done: int = 0
    skipped: int = 0
    quarantined: int = 0
    audio_s: float = 0.0
    wall_s: float = 0.0

    def __str__(self) -> str:
        rtf = f", {self.wall_s / self.audio_s:.3f} s per second of audio" if self.audio_s else ""
        return (
            f"{self.done} enhanced ({self.audio_s / 3600:.3f} h{rtf}), {self.skipped} were there "
            f"already, {self.quarantined} quarantined"
        )


def plan_jobs(source: Path, out: Path, max_utts: Optional[int] = None) -> List[Job]:
    """The files that `source` names and where their results go.

    A list (`*.scp`) gives `out/wav/<uid>.flac`; a folder keeps its structure and suffixes; a file
    goes to `out` itself, or into it when `out` is a folder.

    Raises:
        FileNotFoundError: there is no such input, or a folder without audio.
    """
    if source.suffix == ".scp":
        table = read_list(source)
        uids = sorted(table)[:max_utts]
        return [Job(uid, Path(table[uid]), out / "wav" / f"{uid}.flac") for uid in uids]
    if source.is_dir():
        files = [p for p in sorted(source.rglob("*")) if p.suffix.lower() in AUDIO_SUFFIXES]
        if not files:
            raise FileNotFoundError(
                f"{source}: no audio ({', '.join(AUDIO_SUFFIXES)}) in this folder"
            )
        names = [p.relative_to(source) for p in files[:max_utts]]
        return [Job(str(name), source / name, out / name) for name in names]
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file, folder or list (.scp)")
    is_folder = out.is_dir() or not out.suffix
    if not is_folder and out.suffix.lower() not in AUDIO_SUFFIXES:
        raise ValueError(
            f"{out}: {out.suffix} is no audio file's ending; use one of {', '.join(AUDIO_SUFFIXES)}"
        )
    return [Job(source.stem, source, out / source.name if is_folder else out)]


def enhance_files(
    model: Path, jobs: Iterable[Job], nj: int = 1, *, log: Path, **options
) -> Summary:
    """Enhance every job whose target is missing or older than its source.

    Args:
        model: directory of the trained model.
        jobs: from :func:`plan_jobs`.
        nj: processes; on a GPU, 1.
        log: quarantine list.
        options: of :class:`Enhancer`: device, batch, decode_dtype, …
    """
    jobs = list(jobs)
    todo = [job for job in jobs if not is_done(job)]
    summary = Summary(skipped=len(jobs) - len(todo))
    if not todo:
        return summary
    start = time.monotonic()
    quarantine = Quarantine(log)
    # Loaded here even where workers load it again: what is wrong with it is said at once.
    enhancer = Enhancer.from_pretrained(model, **options)
    bar = tqdm(total=len(todo), desc="enhancing", unit="utt", dynamic_ncols=True)
    with bar, worker_pool(nj, _start_worker, (model, options)) as pool:
        if nj == 1:
            results = (enhance_file(enhancer, job) for job in todo)
        else:
            results = pool.map(_enhance_in_worker, todo)
        for job, (seconds, reason) in zip(todo, results, strict=True):
            bar.update()
            if reason is None:
                summary.done += 1
                summary.audio_s += seconds
            else:
                quarantine.add(job.uid, job.source, reason)
    summary.quarantined = quarantine.count
    summary.wall_s = time.monotonic() - start
    return summary


def is_done(job: Job) -> bool:
    """Whether the target is there and newer than its source."""
    if not job.target.is_file():
        return False
    return not job.source.is_file() or job.target.stat().st_mtime >= job.source.stat().st_mtime


def write_scp(jobs: Iterable[Job], path: Path) -> None:
    """List the targets that exist, `uid path`."""
    write_list(path, {job.uid: job.target for job in jobs if job.target.is_file()})


_WORKER: Dict[str, Enhancer] = {}


def _start_worker(model: Path, options: Dict[str, object]) -> None:
    torch.set_num_threads(1)
    _WORKER["enhancer"] = Enhancer.from_pretrained(model, **options)


def _enhance_in_worker(job: Job) -> Tuple[float, Optional[str]]:
    return enhance_file(_WORKER["enhancer"], job)


def enhance_file(enhancer: Enhancer, job: Job) -> Tuple[float, Optional[str]]:
    """Seconds of audio enhanced, and None or the reason for quarantine."""
    try:
        info = soundfile.info(str(job.source))
        wav, fs = soundfile.read(str(job.source), dtype="float32", always_2d=True)
        # One silent channel of several is no fault; it stays silent.
        loudest = max(wav.T, key=lambda channel: np.nanmax(np.abs(channel), initial=0.0))
        check_audio(loudest, fs)
        if not np.isfinite(wav).all():
            raise BadAudio("NaN or Inf samples")
        enhanced = enhancer(wav.T, fs).T
        if job.target.suffix == job.source.suffix:
            write_audio(job.target, enhanced, fs, info.subtype, info.format)
        else:
            write_audio(job.target, enhanced, fs)
    except (BadAudio, soundfile.SoundFileError, OSError, RuntimeError, ValueError) as error:
        return 0.0, f"{type(error).__name__}: {error}"
    return wav.shape[0] / fs, None
