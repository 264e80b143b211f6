"""Stage 3: are the simulated sets whole, and do they stay apart?

Works from meta.tsv, so it can be run again at any time: every run judges all rendered samples.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from espnet_hybridse.audio import BadAudio, check_audio
from espnet_hybridse.lists import Quarantine
from espnet_hybridse.simulation.meta import Sample, read_meta
from espnet_hybridse.simulation.rendered import RenderedFiles, write_lists
from espnet_hybridse.workers import worker_pool

OURS = "check: "
"""Prefix of the reasons written here, to tell them from those of the simulation."""

LEAKS = {
    "speaker": lambda sample, digest: sample.speech_sid,
    "utterance": lambda sample, digest: sample.speech_uid,
    "noise": lambda sample, digest: sample.noise_uid,
    "audio": lambda sample, digest: digest,
}
"""What two sets must not share."""


@dataclass(frozen=True)
class Finding:
    """The verdict on one sample: content hash of its noisy and clean audio, or what is wrong."""

    sample: Sample
    noisy_hash: str = ""
    clean_hash: str = ""
    fault: str = ""


@dataclass(frozen=True)
class SetReport:
    """Counts for one set: samples in meta.tsv, hours and number kept, and faults by kind."""

    name: str
    total: int
    kept: int
    hours: float
    faults: Counter[str]


def check_sets(
    folders: list[str | Path], nj: int = 1, allow_leaks: tuple[str, ...] = ()
) -> list[SetReport]:
    """Check sets that were simulated; rewrite their lists and quarantine.tsv without bad samples.

    A sample is bad when a file is missing or unreadable, noisy and clean differ in length, rate
    or from meta.tsv, one is silent or has NaN, its noisy audio repeats an earlier one, or it
    shares a speaker, utterance, noise recording or clean audio with a later set. Of two sets the
    one named first gives way: name them train, valid, test, and the test set stays whole.

    Args:
        allow_leaks: names of LEAKS that are accepted, such as `speaker` in a corpus of one voice.

    Raises:
        ValueError: `allow_leaks` names something else, or a folder is named twice.
        ListError: a folder has no meta.tsv.
    """
    unknown = set(allow_leaks) - set(LEAKS)
    if unknown:
        raise ValueError(f"allow_leaks {sorted(unknown)}; accepted: {', '.join(LEAKS)}")
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise ValueError(f"a set is named twice: {', '.join(map(str, folders))}")
    kinds = [kind for kind in LEAKS if kind not in allow_leaks]
    later: dict[str, dict[str, str]] = {kind: {} for kind in kinds}
    metas = {Path(folder): read_meta(Path(folder) / "meta.tsv") for folder in folders}
    reports = []
    for folder in reversed(metas):
        findings = list(_judge(metas[folder], folder.name, nj))
        faults = _set_faults(findings, later)
        reports.insert(0, _write_back(folder, len(metas[folder]), findings, faults))
        for finding in findings:
            if finding.sample.id not in faults:
                for kind in kinds:
                    key = LEAKS[kind](finding.sample, finding.clean_hash)
                    later[kind].setdefault(key, folder.name)
    return reports


def _judge(samples: list[Sample], name: str, nj: int) -> Iterator[Finding]:
    files = RenderedFiles()
    rendered = [sample for sample in samples if files.has(sample)]
    bar = {"total": len(rendered), "desc": f"check {name}", "unit": "utt", "disable": None}
    if nj <= 1 or len(rendered) < 2:
        yield from tqdm(map(judge, rendered), **bar)
        return
    with worker_pool(nj) as pool:
        yield from tqdm(pool.map(judge, rendered, chunksize=16), **bar)


def judge(sample: Sample) -> Finding:
    """Read both files of a sample and compare them with each other and with its parameters."""
    hashes = []
    for name, path in (("noisy", sample.noisy_path), ("clean", sample.clean_path)):
        try:
            wav, fs = soundfile.read(path, dtype="float32")
            if wav.ndim != 1:
                raise BadAudio(f"{wav.shape[1]} channels, expected 1")
            if fs != sample.fs:
                raise BadAudio(f"rate {fs} Hz, meta.tsv says {sample.fs} Hz")
            if wav.size != sample.length:
                raise BadAudio(f"length {wav.size}, meta.tsv says {sample.length} samples")
            check_audio(wav, fs)
        except (BadAudio, RuntimeError, OSError) as error:
            return Finding(sample, fault=f"{name}: {error}")
        hashes.append(hashlib.sha256(np.ascontiguousarray(wav).tobytes()).hexdigest())
    return Finding(sample, *hashes)


def _set_faults(findings: list[Finding], later: dict[str, dict[str, str]]) -> dict[str, str]:
    """Sample id -> what is wrong with it, for one set against the sets after it."""
    faults, first = {}, {}
    for finding in findings:
        uid = finding.sample.id
        if finding.fault:
            faults[uid] = finding.fault
            continue
        original = first.setdefault(finding.noisy_hash, uid)
        if original != uid:
            faults[uid] = f"duplicate: of {original}"
            continue
        for kind, seen in later.items():
            key = LEAKS[kind](finding.sample, finding.clean_hash)
            if key in seen:
                faults[uid] = f"{kind} leak: {key[:80]} is also in {seen[key]}"
                break
    return faults


def _write_back(
    folder: Path, total: int, findings: list[Finding], faults: dict[str, str]
) -> SetReport:
    """Write the set's lists without its faulty samples, and the faults to quarantine.tsv."""
    path = folder / "quarantine.tsv"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    earlier = [row for row in (line.split("\t", 2) for line in lines) if len(row) == 3]
    quarantine = Quarantine(path)
    quarantine.extend(tuple(row) for row in earlier if not row[2].startswith(OURS))
    kept = []
    for finding in findings:
        fault = faults.get(finding.sample.id)
        if fault:
            quarantine.add(finding.sample.id, finding.sample.noisy_path, OURS + fault)
        else:
            kept.append(finding.sample)
    write_lists(kept, folder)
    kinds = Counter(fault.partition(":")[0] for fault in faults.values())
    if total > len(findings):
        kinds["not rendered"] = total - len(findings)
    seconds = sum(sample.length / sample.fs for sample in kept)
    return SetReport(folder.name, total, len(kept), seconds / 3600, kinds)


def format_table(reports: list[SetReport]) -> str:
    """One line a set: samples, kept, hours, and what the others failed on."""
    lines = [f"{'set':<12} {'samples':>8} {'kept':>8} {'hours':>7}  set aside"]
    for report in reports:
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(report.faults.items()))
        lines.append(
            f"{report.name:<12} {report.total:>8} {report.kept:>8} {report.hours:>7.2f}  "
            f"{faults or 'none'}"
        )
    return "\n".join(lines)
