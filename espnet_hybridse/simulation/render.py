"""Rendering of a whole set: parallel, resumable, bad sources set aside."""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.audio import write_audio
from espnet_hybridse.lists import Quarantine, write_list
from espnet_hybridse.simulation.distortions import name_of
from espnet_hybridse.simulation.meta import NO_TEXT, Sample, read_meta, write_meta
from espnet_hybridse.simulation.mixture import BadSource, simulate
from espnet_hybridse.simulation.sources import Sources
from espnet_hybridse.workers import worker_pool

Row = tuple[str, str, str]
BLOCK = 4096
"""Samples handed to the workers at a time, so that a large set takes no memory here."""


@dataclass(frozen=True)
class RenderSummary:
    """Counts of one run, and the seconds it took."""

    rendered: int
    kept: int
    quarantined: int
    seconds: float

    def __str__(self) -> str:
        rate = self.rendered / max(self.seconds, 1e-9)
        return (
            f"{self.rendered} rendered ({rate:.1f} utt/s), {self.kept} were there already, "
            f"{self.quarantined} quarantined"
        )


def write_parameters(samples: list[Sample], out: str | Path) -> None:
    """Write out/meta.tsv; audio of samples whose parameters changed is removed first."""
    path = Path(out) / "meta.tsv"
    old = {sample.id: sample for sample in read_meta(path)} if path.is_file() else {}
    new = {sample.id: sample for sample in samples}
    if old == new:
        return
    stale = [sample for uid, sample in old.items() if new.get(uid) != sample]
    for sample in stale:
        Path(sample.noisy_path).unlink(missing_ok=True)
        Path(sample.clean_path).unlink(missing_ok=True)
    if stale:
        logging.info("parameters of %d samples changed: rendered again", len(stale))
    (Path(out) / "wav.scp").unlink(missing_ok=True)
    write_meta(path, samples)


def render(
    samples: list[Sample],
    sources: Sources,
    out: str | Path,
    nj: int = 1,
    bad_sources: list[Row] | None = None,
) -> RenderSummary:
    """Render what is missing of `samples`, then write the lists of `out`.

    Each file is renamed into place, noisy after clean, so a sample is complete when its noisy
    file exists. wav.scp is written last of all: it marks the set as finished.

    Args:
        bad_sources: rows (uid, path, reason) found earlier, for the same quarantine.tsv.
    """
    out = Path(out)
    start = time.monotonic()
    write_parameters(samples, out)
    for folder in (out, out / "noisy", out / "clean"):
        for leftover in folder.glob(".tmp-*"):
            leftover.unlink(missing_ok=True)
    missing = [sample for sample in samples if not is_rendered(sample)]
    kept = len(samples) - len(missing)
    if not missing and (out / "wav.scp").is_file():
        return RenderSummary(0, kept, len(bad_sources or []), time.monotonic() - start)
    quarantine = Quarantine(out / "quarantine.tsv")
    quarantine.extend(bad_sources or [])
    rendered = 0
    with tqdm(total=len(missing), desc=f"render {out.name}", unit="utt", disable=None) as bar:
        for bad in _render_all(missing, sources, nj):
            bar.update()
            if bad:
                quarantine.add(*bad)
            else:
                rendered += 1
    # A set that stage 3 has cleaned stays cleaned when there was nothing new to render.
    if rendered or not (out / "wav.scp").is_file():
        write_lists([sample for sample in samples if is_rendered(sample)], out)
    return RenderSummary(rendered, kept, quarantine.count, time.monotonic() - start)


def is_rendered(sample: Sample) -> bool:
    """Whether both audio files of a sample are in place."""
    return os.path.exists(sample.noisy_path) and os.path.exists(sample.clean_path)


def write_lists(samples: list[Sample], out: str | Path) -> None:
    """Write the Kaldi-style lists of `samples`; wav.scp comes last."""
    lists: dict[str, dict[str, object]] = {
        "spk1.scp": {sample.id: sample.clean_path for sample in samples},
        "utt2fs": {sample.id: sample.fs for sample in samples},
        "utt2spk": {sample.id: sample.speech_sid for sample in samples},
        "utt2lang": {sample.id: sample.lang for sample in samples},
        "text": {sample.id: sample.text for sample in samples if sample.text != NO_TEXT},
        "speech_length.scp": {sample.id: sample.length for sample in samples},
        "utt2distortion": {sample.id: distortion_label(sample) for sample in samples},
        "wav.scp": {sample.id: sample.noisy_path for sample in samples},
    }
    for name, table in lists.items():
        write_list(Path(out) / name, table)


def distortion_label(sample: Sample) -> str:
    """Names of all distortions of a sample, such as `noise+reverberation+codec`."""
    names = [name_of(part) for part in sample.augmentation.split("/")]
    names = [name for name in names if name not in ("", "none")]
    if "wind_noise" not in names:
        names.insert(0, "noise")
    if sample.rir_uid != "none":
        names.insert(1, "reverberation")
    return "+".join(names)


def _render_all(samples: list[Sample], sources: Sources, nj: int) -> Iterator[Row | None]:
    if nj <= 1 or len(samples) < 2:
        for sample in samples:
            yield render_sample(sample, sources)
        return
    chunk = max(1, min(16, len(samples) // (8 * nj)))
    with worker_pool(nj) as pool:
        for start in range(0, len(samples), BLOCK):
            block = samples[start : start + BLOCK]
            yield from pool.map(render_sample, block, map(sources.only, block), chunksize=chunk)


def render_sample(sample: Sample, sources: Sources) -> Row | None:
    """Write one sample's two files; a bad source comes back as a quarantine row."""
    try:
        noisy, clean = simulate(sample, sources)
    except BadSource as error:
        return sample.id, error.path, str(error)
    write_audio(sample.clean_path, clean, sample.fs)
    write_audio(sample.noisy_path, noisy, sample.fs)
    return None
