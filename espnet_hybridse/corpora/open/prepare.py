"""`hybridse prepare --corpus open`: from repositories to data/{train,valid,test}/*.scp."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.corpora.generated import make_generated, make_rooms
from espnet_hybridse.corpora.mini.debian_packages import copy_licences as copy_package_licences
from espnet_hybridse.corpora.mini.debian_packages import write_licence_table
from espnet_hybridse.corpora.noise_segments import Pieces, make_pieces
from espnet_hybridse.corpora.open.clean_targets import Verdict, judge_all, verdict_rows
from espnet_hybridse.corpora.open.fetch import Fetched, copy_licences, fetch_sources
from espnet_hybridse.corpora.open.mini import (
    MAX_SECONDS,
    MIN_DNSMOS,
    mini_noise,
    mini_roots,
    mini_voices,
)
from espnet_hybridse.corpora.open.noise import MAX_SOURCE_SECONDS, find_noise, noise_set
from espnet_hybridse.corpora.open.rooms import make_measured_rooms
from espnet_hybridse.corpora.open.speech import VOICES, find_voices, voice_set
from espnet_hybridse.corpora.open.synthesis import synthesize
from espnet_hybridse.corpora.open.table import SOURCES, Source
from espnet_hybridse.corpora.prepare import summary, write_set
from espnet_hybridse.corpora.recordings import NO_TEXT, Recording
from espnet_hybridse.corpora.split import SETS, drop_shared_prompts
from espnet_hybridse.corpora.utterances import Utterance, make_utterances
from espnet_hybridse.fileio.lists import Quarantine, atomic_path
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.simulation.rooms import FS as ROOM_FS

VERSION = 1
"""Raised when the same options give other lists, so that old data is made anew."""

HELD_OUT_SECONDS = 60.0
"""Most speech of one voice in valid and test; of voices that a table puts there, 240 s."""


@dataclass(frozen=True)
class OpenOptions:
    """Everything that decides what the lists hold.

    mini: whether the mini recipe's training and validation recordings are a part of the corpus
    synthetic_hours: of speech by Kokoro, in all three sets together
    """

    repositories: str
    mini: bool = True
    synthetic_hours: float = 0.0
    num_rirs: int = 120
    num_generated: int = 40
    min_dnsmos: float = 3.0
    seed: int = 0

    def digest(self) -> str:
        return hashlib.sha256(json.dumps([VERSION, asdict(self)]).encode()).hexdigest()


@dataclass(frozen=True)
class Limits:
    """How much of one voice is used, and how good it has to be."""

    max_seconds: float
    min_dnsmos: float
    best_seconds: float = float("inf")
    join: bool = True


@dataclass
class Sets:
    """What has been made so far, by set."""

    utterances: dict[str, list[Utterance]]
    noises: dict[str, Pieces]
    rirs: dict[str, Pieces]
    noise_sources: dict[str, set[str]]
    verdicts: list[Verdict]

    @classmethod
    def empty(cls) -> "Sets":
        return cls(
            {name: [] for name in SETS},
            {name: {} for name in SETS},
            {name: {} for name in SETS},
            {name: set() for name in SETS},
            [],
        )


def prepare(
    options: OpenOptions,
    out: Path,
    downloads: Path,
    nj: int = 2,
    sources: Sequence[Source] = SOURCES,
) -> list[str]:
    """Make the lists of the three sets under `out` and return one summary line a set.

    Lists are those of :func:`espnet_hybridse.corpora.prepare.prepare`; beside them
    clean_targets.tsv says of every utterance whether it is kept, and why not. Each finished voice
    and source leaves a manifest under `downloads`, so that a run that was cut off goes on where it
    stood.

    Raises:
        RepositoryError: no speech or no noise in the repositories.
        ValueError: a set has no speech that is clean enough.
    """
    done = out / ".done"
    if done.is_file():
        marker = json.loads(done.read_text(encoding="utf-8"))
        if marker["digest"] == options.digest():
            return [f"{out}: already prepared with these options; delete {done} to do it again"]
        done.unlink()
    fetched = fetch_sources(Path(options.repositories), downloads, sources)
    roots = mini_roots(downloads) if options.mini else {}
    licences = copy_licences(fetched, out)
    packages = copy_package_licences(roots, out) if roots else []
    quarantine = Quarantine(out / "quarantine.tsv")
    audio, made = downloads / "audio" / "open", Sets.empty()
    with worker_pool(nj) as pool:
        _add_speech(fetched, roots, made, options, audio, pool, quarantine)
        if options.synthetic_hours:
            _add_synthetic(made, options, downloads, audio, pool)
        _add_noise(fetched, roots, made, options, audio, pool, quarantine)
        _add_measured_rooms(fetched, made, audio, quarantine)
        winds = make_generated(
            "wind", options.num_generated, downloads / "audio", options.seed, pool
        )
        stationary = make_generated(
            "stationary", options.num_generated, downloads / "audio", options.seed, pool
        )
        rooms = make_rooms(downloads / "audio", options.num_rirs, options.seed, pool)
    _write_text(out / "clean_targets.tsv", verdict_rows(made.verdicts))
    sets = drop_shared_prompts(made.utterances, NO_TEXT)
    empty = [name for name in SETS if not sets[name]]
    if empty:
        raise ValueError(
            f"no usable speech for {', '.join(empty)}: {_verdict_summary(made.verdicts, out)}; "
            f"unreadable files are in {quarantine.path}; add repositories, or lower --min_dnsmos"
        )
    lines = []
    for name in SETS:
        if name != "test":  # tests are heard with noises that were recorded
            made.noises[name].update(stationary[name])
        made.rirs[name].update({u: (ROOM_FS, str(p.resolve())) for u, p in rooms[name].items()})
        write_set(out / name, sets[name], made.noises[name], winds[name], made.rirs[name])
        lines.append(
            summary(name, sets[name], made.noises[name], len(made.rirs[name]))
            + f", {len(made.noise_sources[name])} noise sources"
        )
    lines.append(_verdict_summary(made.verdicts, out))
    lines.append(quarantine.summary())
    write_licence_table(out, [*licences, *packages])
    marker = json.dumps({"digest": options.digest(), "options": asdict(options)})
    _write_text(done, [marker])
    return lines


def _add_speech(
    fetched: Sequence[Fetched],
    roots: dict[str, Path],
    made: Sets,
    options: OpenOptions,
    audio: Path,
    pool: Executor,
    quarantine: Quarantine,
) -> None:
    """Utterances of every voice, judged; one job a voice."""
    jobs = []
    for item in fetched:
        if item.source.kind != "speech":
            continue
        voices = VOICES[item.source.name]
        by_speaker: dict[str, list[Recording]] = {}
        for recording in find_voices(item):
            by_speaker.setdefault(recording.speaker, []).append(recording)
        for speaker, recordings in sorted(by_speaker.items()):
            name = voice_set(item.source.name, speaker)
            held_out = 4 * HELD_OUT_SECONDS if speaker in voices.sets else HELD_OUT_SECONDS
            seconds = voices.max_seconds if name == "train" else held_out
            limits = Limits(seconds, options.min_dnsmos, voices.best_seconds, voices.join)
            jobs.append((name, speaker, recordings, limits))
    for speaker, (name, recordings) in mini_voices(roots).items():
        jobs.append((name, speaker, recordings, Limits(MAX_SECONDS[name], MIN_DNSMOS)))
    # The longest voices first, so that no process is left alone with one at the end.
    jobs.sort(key=lambda job: (-len(job[2]), job[1]))
    running = [
        (name, pool.submit(make_voice, speaker, recordings, audio, options.seed, limits))
        for name, speaker, recordings, limits in jobs
    ]
    for name, job in tqdm(running, "speakers"):
        kept, verdicts, bad = job.result()
        made.utterances[name] += kept
        made.verdicts += verdicts
        quarantine.extend(bad)


def make_voice(
    speaker: str,
    recordings: Sequence[Recording],
    audio: Path,
    seed: int,
    limits: Limits,
) -> tuple[list[Utterance], list[Verdict], list[tuple[str, str, str]]]:
    """Utterances of one voice that are clean enough, all verdicts, and files that are unusable."""
    utterances, bad = make_utterances(
        speaker, recordings, audio / "speech", limits.max_seconds, seed, join=limits.join
    )
    kept, verdicts = judge_all(utterances, audio / "judged", speaker, limits.min_dnsmos)
    if sum(utterance.seconds for utterance in kept) > limits.best_seconds:
        kept = _best(kept, verdicts, limits.best_seconds)
    return kept, verdicts, bad


def _add_synthetic(
    made: Sets, options: OpenOptions, downloads: Path, audio: Path, pool: Executor
) -> None:
    """Synthetic utterances, judged like the others; one job a voice."""
    spoken = synthesize(downloads, audio / "synthetic", options.synthetic_hours, options.seed, pool)
    for name, utterances in spoken.items():
        by_speaker: dict[str, list[Utterance]] = {}
        for utterance in utterances:
            by_speaker.setdefault(utterance.speaker, []).append(utterance)
        jobs = [
            pool.submit(judge_all, members, audio / "judged", speaker, options.min_dnsmos)
            for speaker, members in sorted(by_speaker.items())
        ]
        for job in jobs:
            kept, verdicts = job.result()
            made.utterances[name] += kept
            made.verdicts += verdicts


def _best(
    utterances: Sequence[Utterance], verdicts: Sequence[Verdict], max_seconds: float
) -> list[Utterance]:
    """Those with the highest DNSMOS, `max_seconds` of them, in their own order."""
    score = {verdict.uid: verdict.dnsmos for verdict in verdicts}
    chosen, seconds = set(), 0.0
    for utterance in sorted(utterances, key=lambda u: (-score[u.uid], u.uid)):
        seconds += utterance.seconds
        if seconds > max_seconds:
            break
        chosen.add(utterance.uid)
    return [utterance for utterance in utterances if utterance.uid in chosen]


def _add_noise(
    fetched: Sequence[Fetched],
    roots: dict[str, Path],
    made: Sets,
    options: OpenOptions,
    audio: Path,
    pool: Executor,
    quarantine: Quarantine,
) -> None:
    """Pieces of every source of noise; one job a source."""
    by_source: dict[str, list[Recording]] = {}
    for item in fetched:
        for file in find_noise(item) if item.source.kind == "noise" else ():
            by_source.setdefault(file.source, []).append(Recording(file.path, file.source))
    jobs = {
        source: pool.submit(
            make_pieces, source, files, audio / "noise", options.seed, MAX_SOURCE_SECONDS
        )
        for source, files in sorted(by_source.items())
    }
    sets = {source: noise_set(source) for source in jobs}
    for (name, family), files in mini_noise(roots).items():
        source = f"mini-{name}-{family}"
        jobs[source] = pool.submit(make_pieces, source, files, audio / "noise", options.seed)
        sets[source] = name
    for source, job in tqdm(jobs.items(), "noise"):
        pieces, bad = job.result()
        name = sets[source]
        made.noises[name].update(pieces)
        if pieces:
            made.noise_sources[name].add(source)
        quarantine.extend(bad)


def _add_measured_rooms(
    fetched: Sequence[Fetched], made: Sets, audio: Path, quarantine: Quarantine
) -> None:
    import soundfile

    for item in fetched:
        if item.source.kind != "room":
            continue
        rooms, bad = make_measured_rooms(item, audio / "rooms")
        quarantine.extend(bad)
        for room in rooms:
            made.rirs[room.set].update(
                {
                    path.stem: (soundfile.info(str(path)).samplerate, str(path.resolve()))
                    for path in room.paths
                }
            )


def _verdict_summary(verdicts: Sequence[Verdict], out: Path) -> str:
    """One line: how many utterances were judged, and rejected for what."""
    reasons = Counter(verdict.reason.split()[0] for verdict in verdicts if not verdict.kept)
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"
    return f"{len(verdicts)} utterances judged, rejected: {counts} ({out / 'clean_targets.tsv'})"


def _write_text(path: Path, lines: Sequence[str]) -> None:
    with atomic_path(path) as tmp:
        tmp.write_text("\n".join(lines) + "\n", encoding="utf-8")
