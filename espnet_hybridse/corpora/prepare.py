"""From packages or folders to data/{train,valid,test}/*.scp."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.corpora.generated import make_generated, make_rooms
from espnet_hybridse.corpora.mini.debian_packages import (
    FIX,
    copy_licences,
    fetch_all,
    write_licence_table,
)
from espnet_hybridse.corpora.mini.noise import find_noise, split_recordings
from espnet_hybridse.corpora.mini.speech import VOICES, find_speech
from espnet_hybridse.corpora.noise_segments import Pieces, make_pieces
from espnet_hybridse.corpora.own_folders import find_folder_noise, find_folder_speech
from espnet_hybridse.corpora.recordings import NO_TEXT, Recording
from espnet_hybridse.corpora.split import SETS, assign_speakers, drop_shared_prompts
from espnet_hybridse.corpora.utterances import Utterance, make_utterances
from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.fileio.lists import Quarantine, atomic_path, write_list
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.simulation.rooms import FS as ROOM_FS

VERSION = 2
"""Raised when the same options give other lists, so that old data is made anew."""

SPEAKER_SECONDS = {"train": 2400.0, "valid": 120.0, "test": 150.0}
"""Most speech of one voice (our choice): a mini corpus has few voices and some are very long."""


@dataclass(frozen=True)
class MiniOptions:
    """Everything that decides what the lists hold; `speech_dir` and `noise_dir` replace packages.

    `num_generated` counts the stationary noises and, once more, the wind noises.

    Raises:
        ValueError: only one of the two folders is given.
    """

    speech_dir: str | None = None
    noise_dir: str | None = None
    lang: str = "und"
    num_rirs: int = 120
    num_generated: int = 40
    seed: int = 0

    def __post_init__(self):
        if bool(self.speech_dir) != bool(self.noise_dir):
            raise ValueError("--speech_dir and --noise_dir go together; only one was given")

    def digest(self) -> str:
        return hashlib.sha256(json.dumps([VERSION, asdict(self)]).encode()).hexdigest()


def prepare(options: MiniOptions, out: Path, downloads: Path, nj: int = 2) -> list[str]:
    """Make the lists of the three sets under `out` and return one summary line a set.

    Each set has speech.scp, noise.scp, wind.scp, rir.scp (`uid fs path`), and text, utt2lang,
    utt2spk keyed by the speech uid. Raw and prepared audio stays under `downloads`. Nothing is
    done when out/.done says that these options were finished.

    Raises:
        ValueError: too few speakers, no noise, or packages that cannot be had; nothing is listed.
    """
    done = out / ".done"
    if done.is_file():
        marker = json.loads(done.read_text(encoding="utf-8"))
        if marker["digest"] == options.digest():
            return [f"{out}: already prepared with these options; delete {done} to do it again"]
        done.unlink()
    audio = downloads / "audio"
    if options.speech_dir:
        speech = find_folder_speech(Path(options.speech_dir), options.lang)
        voices = assign_speakers((r.speaker for r in speech), options.seed)
        noise = find_folder_noise(Path(options.noise_dir))
        audio = audio / "own"
    else:
        roots = fetch_all(downloads)
        write_licence_table(out, copy_licences(roots, out))
        speech, voices, noise = find_speech(roots), VOICES, find_noise(roots)
    missing = [name for name in SETS if name not in {voices[r.speaker] for r in speech}]
    if missing or not noise:
        raise ValueError(f"no {'speech for ' + ', '.join(missing) if missing else 'noise'}. {FIX}")
    quarantine = Quarantine(out / "quarantine.tsv")
    seed, count = options.seed, options.num_generated
    with worker_pool(nj) as pool:
        utterances = _speech_sets(speech, voices, seed, audio / "speech", pool, quarantine)
        noises = _noise_sets(noise, seed, audio / "noise", pool, quarantine)
        stationary = make_generated("stationary", count, downloads / "audio", seed, pool)
        winds = make_generated("wind", count, downloads / "audio", seed, pool)
        rooms = make_rooms(downloads / "audio", options.num_rirs, seed, pool)
    lines = []
    for name in SETS:
        if not utterances[name]:
            raise ValueError(f"no usable speech for {name}; see {quarantine.path}. {FIX}")
        noises[name].update(stationary[name])
        rirs = {uid: (ROOM_FS, str(path.resolve())) for uid, path in rooms[name].items()}
        write_set(out / name, utterances[name], noises[name], winds[name], rirs)
        lines.append(summary(name, utterances[name], noises[name], len(rirs)))
    lines.append(quarantine.summary())
    with atomic_path(done) as tmp:
        tmp.write_text(
            json.dumps({"digest": options.digest(), "options": asdict(options)}) + "\n",
            encoding="utf-8",
        )
    return lines


def _speech_sets(
    recordings: Sequence[Recording],
    voices: dict[str, str],
    seed: int,
    out: Path,
    pool: Executor,
    quarantine: Quarantine,
) -> dict[str, list[Utterance]]:
    """Utterances of each set; one job a speaker."""
    by_speaker: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_speaker.setdefault(recording.speaker, []).append(recording)
    sets: dict[str, list[Utterance]] = {name: [] for name in SETS}
    # The longest voices first, so that no process is left alone with one at the end.
    jobs = {
        speaker: pool.submit(
            make_utterances,
            speaker,
            by_speaker[speaker],
            out,
            SPEAKER_SECONDS[voices[speaker]],
            seed,
        )
        for speaker in sorted(by_speaker, key=lambda name: (-len(by_speaker[name]), name))
    }
    for speaker, job in tqdm(jobs.items(), "speakers"):
        made, bad = job.result()
        sets[voices[speaker]] += made
        quarantine.extend(bad)
    return drop_shared_prompts(sets, NO_TEXT)


def _noise_sets(
    recordings: Sequence[Recording], seed: int, out: Path, pool: Executor, quarantine: Quarantine
) -> dict[str, Pieces]:
    """Noise pieces of each set; one job a set and family."""
    sets: dict[str, Pieces] = {name: {} for name in SETS}
    jobs = {
        (name, family): pool.submit(make_pieces, f"{name}-{family}", members, out, seed)
        for name, families in split_recordings(recordings).items()
        for family, members in families.items()
        if members
    }
    for (name, _), job in tqdm(jobs.items(), "noise"):
        pieces, bad = job.result()
        sets[name].update(pieces)
        quarantine.extend(bad)
    return sets


def write_set(
    folder: Path, utterances: Sequence[Utterance], noises: Pieces, winds: Pieces, rirs: Pieces
) -> None:
    """Write one set's lists, each atomically."""
    sources = {u.uid: (u.fs, u.path) for u in utterances}
    for name, table in (("speech", sources), ("noise", noises), ("wind", winds), ("rir", rirs)):
        lines = {uid: f"{fs} {path}" for uid, (fs, path) in table.items()}
        write_list(folder / f"{name}.scp", lines)
    write_list(folder / "text", {u.uid: u.text for u in utterances})
    write_list(folder / "utt2lang", {u.uid: u.lang for u in utterances})
    write_list(folder / "utt2spk", {u.uid: u.speaker for u in utterances})


def summary(name: str, utterances: Sequence[Utterance], noises: Pieces, num_rirs: int) -> str:
    """One line: utterances, hours, speakers, languages, rates, minutes of noise, responses."""
    rates = Counter(u.fs for u in utterances)
    minutes = sum(read_info(path).seconds for _, path in noises.values()) / 60
    return (
        f"{name}: {len(utterances)} utterances, "
        f"{sum(u.seconds for u in utterances) / 3600:.2f} h, "
        f"{len({u.speaker for u in utterances})} speakers, "
        f"languages {' '.join(sorted({u.lang for u in utterances}))}, rates "
        f"{' '.join(f'{fs / 1000:g}k:{rates[fs]}' for fs in sorted(rates))}, "
        f"{sum(u.text != NO_TEXT for u in utterances)} with text, "
        f"noise {minutes:.0f} min, {num_rirs} room responses"
    )
