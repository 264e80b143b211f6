"""The speech of the open corpus: every voice's utterances, judged and dealt out to the sets."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.corpora.open.clean_targets import Verdict, judge_all
from espnet_hybridse.corpora.open.fetch import Fetched
from espnet_hybridse.corpora.open.mini import MAX_SECONDS, MIN_DNSMOS, mini_voices
from espnet_hybridse.corpora.open.speech import VOICES, find_voices, voice_set
from espnet_hybridse.corpora.open.synthesis import synthesize
from espnet_hybridse.corpora.recordings import Recording
from espnet_hybridse.corpora.split import SETS
from espnet_hybridse.corpora.utterances import Utterance, make_utterances
from espnet_hybridse.fileio.lists import Quarantine

HELD_OUT_SECONDS = 60.0
"""Most speech of one voice in valid and test; of voices that a table puts there, four times it."""


@dataclass(frozen=True)
class Limits:
    """How much of one voice is used, and how good it has to be."""

    max_seconds: float
    min_dnsmos: float
    best_seconds: float = float("inf")
    join: bool = True


@dataclass
class Spoken:
    """Utterances by set, and the verdict on every one that was judged."""

    sets: dict[str, list[Utterance]] = field(default_factory=lambda: {name: [] for name in SETS})
    verdicts: list[Verdict] = field(default_factory=list)

    def summary(self) -> str:
        """How many utterances were judged, and how many rejected for what."""
        reasons = Counter(v.reason.split()[0] for v in self.verdicts if not v.kept)
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        return f"{len(self.verdicts)} utterances judged, rejected: {counts or 'none'}"


def add_voices(
    spoken: Spoken,
    fetched: Sequence[Fetched],
    roots: dict[str, Path],
    min_dnsmos: float,
    seed: int,
    audio: Path,
    pool: Executor,
    quarantine: Quarantine,
) -> None:
    """Utterances of every recorded voice, of the repositories and of the mini recipe's packages.

    One job a voice; what is unusable is added to `quarantine`.
    """
    jobs = []
    for item in fetched:
        if item.source.kind == "speech":
            jobs += _voices_of(item, min_dnsmos)
    for speaker, (name, recordings) in mini_voices(roots).items():
        jobs.append((name, speaker, recordings, Limits(MAX_SECONDS[name], MIN_DNSMOS)))
    # The longest voices first, so that no process is left alone with one at the end.
    jobs.sort(key=lambda job: (-len(job[2]), job[1]))
    running = [
        (name, pool.submit(make_voice, speaker, recordings, audio, seed, limits))
        for name, speaker, recordings, limits in jobs
    ]
    for name, job in tqdm(running, "speakers"):
        kept, verdicts, bad = job.result()
        spoken.sets[name] += kept
        spoken.verdicts += verdicts
        quarantine.extend(bad)


def _voices_of(item: Fetched, min_dnsmos: float) -> list[tuple[str, str, list[Recording], Limits]]:
    """(set, speaker, recordings, limits) of every voice of a repository."""
    voices = VOICES[item.source.name]
    by_speaker: dict[str, list[Recording]] = {}
    for recording in find_voices(item):
        by_speaker.setdefault(recording.speaker, []).append(recording)
    found = []
    for speaker, recordings in sorted(by_speaker.items()):
        name = voice_set(item.source.name, speaker)
        held_out = HELD_OUT_SECONDS * (4 if speaker in voices.sets else 1)
        seconds = voices.max_seconds if name == "train" else held_out
        limits = Limits(seconds, min_dnsmos, voices.best_seconds, voices.join)
        found.append((name, speaker, recordings, limits))
    return found


def make_voice(
    speaker: str, recordings: Sequence[Recording], audio: Path, seed: int, limits: Limits
) -> tuple[list[Utterance], list[Verdict], list[tuple[str, str, str]]]:
    """Utterances of one voice that are clean enough, all verdicts, and files that are unusable."""
    utterances, bad = make_utterances(
        speaker, recordings, audio / "speech", limits.max_seconds, seed, join=limits.join
    )
    kept, verdicts = judge_all(utterances, audio / "judged", speaker, limits.min_dnsmos)
    if sum(utterance.seconds for utterance in kept) > limits.best_seconds:
        kept = _best(kept, verdicts, limits.best_seconds)
    return kept, verdicts, bad


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


def add_synthetic(
    spoken: Spoken, hours: float, min_dnsmos: float, seed: int, downloads: Path, pool: Executor
) -> None:
    """Synthetic utterances, judged like the others; one job a voice."""
    audio = downloads / "audio" / "open"
    for name, utterances in synthesize(downloads, audio / "synthetic", hours, seed, pool).items():
        by_speaker: dict[str, list[Utterance]] = {}
        for utterance in utterances:
            by_speaker.setdefault(utterance.speaker, []).append(utterance)
        jobs = [
            pool.submit(judge_all, members, audio / "judged", speaker, min_dnsmos)
            for speaker, members in sorted(by_speaker.items())
        ]
        for job in jobs:
            kept, verdicts = job.result()
            spoken.sets[name] += kept
            spoken.verdicts += verdicts
