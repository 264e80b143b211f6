"""`hybridse prepare --corpus open`: from repositories to data/{train,valid,test}/*.scp."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.corpora.generated import make_generated, make_rooms
from espnet_hybridse.corpora.mini.debian_packages import copy_licences as copy_package_licences
from espnet_hybridse.corpora.mini.debian_packages import write_licence_table
from espnet_hybridse.corpora.noise_segments import Pieces, make_pieces
from espnet_hybridse.corpora.open.clean_targets import verdict_rows
from espnet_hybridse.corpora.open.fetch import Fetched, copy_licences, fetch_sources
from espnet_hybridse.corpora.open.mini import mini_noise, mini_roots
from espnet_hybridse.corpora.open.noise import MAX_SOURCE_SECONDS, find_noise, noise_set
from espnet_hybridse.corpora.open.rooms import make_measured_rooms
from espnet_hybridse.corpora.open.table import SOURCES, Source
from espnet_hybridse.corpora.open.voices import Spoken, add_synthetic, add_voices
from espnet_hybridse.corpora.prepare import summary, write_set
from espnet_hybridse.corpora.recordings import NO_TEXT, Recording
from espnet_hybridse.corpora.split import SETS, drop_shared_prompts
from espnet_hybridse.corpora.utterances import Utterance
from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.fileio.lists import Quarantine, atomic_path
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.simulation.rooms import FS as ROOM_FS

VERSION = 1
"""Raised when the same options give other lists, so that old data is made anew."""


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


@dataclass
class Surroundings:
    """Noise pieces and their sources, wind and room responses, by set."""

    noises: dict[str, Pieces] = field(default_factory=lambda: {name: {} for name in SETS})
    sources: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in SETS})
    winds: dict[str, Pieces] = field(default_factory=dict)
    rirs: dict[str, Pieces] = field(default_factory=lambda: {name: {} for name in SETS})


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
    audio, spoken = downloads / "audio" / "open", Spoken()
    with worker_pool(nj) as pool:
        limits = (options.min_dnsmos, options.seed)
        add_voices(spoken, fetched, roots, *limits, audio, pool, quarantine)
        if options.synthetic_hours:
            add_synthetic(spoken, options.synthetic_hours, *limits, downloads, pool)
        utterances = _usable_speech(spoken, out, quarantine)
        around = _surroundings(fetched, roots, options, downloads, pool, quarantine)
    lines = []
    for name in SETS:
        rirs = around.rirs[name]
        write_set(out / name, utterances[name], around.noises[name], around.winds[name], rirs)
        lines.append(
            summary(name, utterances[name], around.noises[name], len(rirs))
            + f", {len(around.sources[name])} noise sources"
        )
    lines += [f"{spoken.summary()} ({out / 'clean_targets.tsv'})", quarantine.summary()]
    write_licence_table(out, [*licences, *packages])
    marker = json.dumps({"digest": options.digest(), "options": asdict(options)})
    _write_lines(done, [marker])
    return lines


def _usable_speech(spoken: Spoken, out: Path, quarantine: Quarantine) -> dict[str, list[Utterance]]:
    """The utterances of each set, no prompt in two sets; writes clean_targets.tsv.

    Raises:
        ValueError: a set has none.
    """
    _write_lines(out / "clean_targets.tsv", verdict_rows(spoken.verdicts))
    sets = drop_shared_prompts(spoken.sets, NO_TEXT)
    empty = [name for name in SETS if not sets[name]]
    if empty:
        raise ValueError(
            f"no usable speech for {', '.join(empty)}: {spoken.summary()}, see "
            f"{out / 'clean_targets.tsv'}; unreadable files are in {quarantine.path}; add "
            "repositories, or lower --min_dnsmos"
        )
    return sets


def _surroundings(
    fetched: Sequence[Fetched],
    roots: dict[str, Path],
    options: OpenOptions,
    downloads: Path,
    pool: Executor,
    quarantine: Quarantine,
) -> Surroundings:
    """Recorded and generated noise, generated wind, measured and simulated rooms."""
    around, audio, seed = Surroundings(), downloads / "audio", options.seed
    _add_noise(fetched, roots, around, audio / "open" / "noise", seed, pool, quarantine)
    _add_measured_rooms(fetched, around, audio / "open" / "rooms", quarantine)
    around.winds = make_generated("wind", options.num_generated, audio, seed, pool)
    stationary = make_generated("stationary", options.num_generated, audio, seed, pool)
    rooms = make_rooms(audio, options.num_rirs, seed, pool)
    for name in SETS:
        if name != "test":  # tests are heard with noises that were recorded
            around.noises[name].update(stationary[name])
        around.rirs[name].update(
            {uid: (ROOM_FS, str(path.resolve())) for uid, path in rooms[name].items()}
        )
    return around


def _add_noise(
    fetched: Sequence[Fetched],
    roots: dict[str, Path],
    around: Surroundings,
    out: Path,
    seed: int,
    pool: Executor,
    quarantine: Quarantine,
) -> None:
    """Pieces of every recorded source; one job a source."""
    by_source: dict[str, list[Recording]] = {}
    for item in fetched:
        for file in find_noise(item) if item.source.kind == "noise" else ():
            by_source.setdefault(file.source, []).append(Recording(file.path, file.source))
    jobs = {
        source: (
            noise_set(source),
            pool.submit(make_pieces, source, files, out, seed, MAX_SOURCE_SECONDS),
        )
        for source, files in sorted(by_source.items())
    }
    for (name, family), files in mini_noise(roots).items():
        source = f"mini-{name}-{family}"
        jobs[source] = name, pool.submit(make_pieces, source, files, out, seed)
    for source, (name, job) in tqdm(jobs.items(), "noise"):
        pieces, bad = job.result()
        around.noises[name].update(pieces)
        if pieces:
            around.sources[name].add(source)
        quarantine.extend(bad)


def _add_measured_rooms(
    fetched: Sequence[Fetched], around: Surroundings, out: Path, quarantine: Quarantine
) -> None:
    for item in fetched:
        if item.source.kind != "room":
            continue
        rooms, bad = make_measured_rooms(item, out)
        quarantine.extend(bad)
        for room in rooms:
            for path in room.paths:
                fs = read_info(path).fs
                around.rirs[room.set][path.stem] = fs, str(path.resolve())


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with atomic_path(path) as tmp:
        tmp.write_text("\n".join(lines) + "\n", encoding="utf-8")
