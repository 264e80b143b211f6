"""Checks of simulated sets: whether each is whole, and whether they stay apart.

Works from meta.tsv, so it can be run again at any time: every run judges all rendered samples.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_hybridse.fileio.audio import BadAudio, check_audio
from espnet_hybridse.fileio.checksum import file_sha256
from espnet_hybridse.fileio.decode import read_samples
from espnet_hybridse.fileio.lists import Quarantine
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.simulation.check_report import SetReport, report_on
from espnet_hybridse.simulation.meta import Sample, read_meta
from espnet_hybridse.simulation.render_again import set_sources
from espnet_hybridse.simulation.set_lists import RenderedFiles, write_lists
from espnet_hybridse.simulation.sources import Sources

OURS = "check: "
"""Prefix of the reasons written here, to tell them from those of the simulation."""

LEAKS = {
    "speaker": lambda finding: finding.sample.speech_sid,
    "utterance": lambda finding: finding.sample.speech_uid,
    "noise": lambda finding: finding.sample.noise_uid,
    "audio": lambda finding: () if finding.sample.noise_only else finding.clean_hash,
    "content": lambda finding: finding.source_hashes,
}
"""What two sets must not share; `content` is speech or noise with the same bytes in another file,
whatever its uid."""

FULL_SCALE = 1 - 1.5 / 2**15
"""Targets peak at 0.9: one that reaches a 16-bit file's largest value was clipped."""


@dataclass(frozen=True)
class Finding:
    """The verdict on one sample: content hashes, or what is wrong.

    source_hashes: of the speech file and the noise file, where the set says where they are
    """

    sample: Sample
    noisy_hash: str = ""
    clean_hash: str = ""
    source_hashes: tuple[str, ...] = ()
    fault: str = ""


def check_sets(
    folders: list[str | Path], nj: int = 1, allow_leaks: tuple[str, ...] = ()
) -> list[SetReport]:
    """Check sets that were simulated; rewrite their lists and quarantine.tsv without bad samples.

    A sample is bad when a file is missing or unreadable, noisy and clean differ in length, rate
    or from meta.tsv, one is silent or has NaN, the clean one is clipped, its noisy audio repeats an
    earlier one, or it shares a speaker, utterance, noise recording, clean audio or the content of
    a source file with a later set. Of two sets the one named first gives way: name them train,
    valid, test, and the test set stays whole.

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
    later: dict[str, dict[object, str]] = {kind: {} for kind in kinds}
    metas = {Path(folder): read_meta(Path(folder) / "meta.tsv") for folder in folders}
    reports = []
    for folder in reversed(metas):
        sources = set_sources(folder) if "content" in kinds else None
        findings = list(_judge(metas[folder], sources, folder.name, nj))
        faults = _set_faults(findings, later)
        reports.insert(0, _write_back(folder, len(metas[folder]), findings, faults))
        for finding in findings:
            if finding.sample.id not in faults:
                for kind in kinds:
                    for key in _keys(kind, finding):
                        later[kind].setdefault(key, folder.name)
    return reports


def _judge(samples: list[Sample], sources: Sources | None, name: str, nj: int) -> Iterator[Finding]:
    files = RenderedFiles()
    rendered = [sample for sample in samples if files.has(sample)]
    paths = [() if sources is None else _source_paths(sample, sources) for sample in rendered]
    bar = {"total": len(rendered), "desc": f"check {name}", "unit": "utt", "disable": None}
    if nj <= 1 or len(rendered) < 2:
        yield from tqdm(map(judge, rendered, paths), **bar)
        return
    with worker_pool(nj) as pool:
        yield from tqdm(pool.map(judge, rendered, paths, chunksize=16), **bar)


def _source_paths(sample: Sample, sources: Sources) -> tuple[str, ...]:
    """Files of a sample's speech and noise, as far as the lists name them."""
    found = [sources.speech.get(sample.speech_uid)]
    found.append(sources.noise.get(sample.noise_uid) or sources.wind.get(sample.noise_uid))
    return tuple(entry[1] for entry in found if entry)


@lru_cache(maxsize=4096)
def _file_hash(path: str) -> str:
    """Hash of a file's bytes, cached: noises come again and again."""
    try:
        return file_sha256(path)
    except OSError:
        return ""


def judge(sample: Sample, source_paths: tuple[str, ...] = ()) -> Finding:
    """Read both files of a sample and compare them with each other and with its parameters."""
    hashes = []
    for name, path in (("noisy", sample.noisy_path), ("clean", sample.clean_path)):
        try:
            samples, fs = read_samples(path)
            if len(samples) != 1:
                raise BadAudio(f"{len(samples)} channels, expected 1")
            wav = samples[0]
            if fs != sample.fs:
                raise BadAudio(f"rate {fs} Hz, meta.tsv says {sample.fs} Hz")
            if wav.size != sample.length:
                raise BadAudio(f"length {wav.size}, meta.tsv says {sample.length} samples")
            if not (name == "clean" and sample.noise_only):
                check_audio(wav, fs)
            clipped = int((np.abs(wav) >= FULL_SCALE).sum()) if name == "clean" else 0
            if clipped:
                raise BadAudio(f"clipped: {clipped} samples at full scale")
        except BadAudio as error:
            return Finding(sample, fault=f"{name}: {error}")
        hashes.append(hashlib.sha256(np.ascontiguousarray(wav).tobytes()).hexdigest())
    sources = tuple(filter(None, map(_file_hash, source_paths)))
    return Finding(sample, *hashes, source_hashes=sources)


def _keys(kind: str, finding: Finding) -> tuple[str, ...]:
    """Return what a sample has of one kind of LEAKS."""
    value = LEAKS[kind](finding)
    return value if isinstance(value, tuple) else (value,)


def _set_faults(findings: list[Finding], later: dict[str, dict[object, str]]) -> dict[str, str]:
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
        shared = ((k, key) for k, seen in later.items() for key in _keys(k, finding) if key in seen)
        kind, key = next(shared, ("", ""))
        if kind:
            faults[uid] = f"{kind} leak: {key[:80]} is also in {later[kind][key]}"
    return faults


def _write_back(
    folder: Path, total: int, findings: list[Finding], faults: dict[str, str]
) -> SetReport:
    """Write the set's lists without its faulty samples, and the faults to quarantine.tsv."""
    path = folder / "quarantine.tsv"
    earlier = Quarantine.read(path)
    quarantine = Quarantine(path)
    quarantine.extend(row for row in earlier if not row[2].startswith(OURS))
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
    return report_on(folder.name, total, kept, kinds)
