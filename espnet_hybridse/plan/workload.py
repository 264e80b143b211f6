"""How much audio there is: from a list, a rendered set, or three numbers."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import soundfile

from espnet_hybridse.audio import ARCHIVED, RATES
from espnet_hybridse.lists import ListError, read_list

HEADERS = 500
"""Files of a list whose headers are read for the mean length (our choice: its error is then a few
per cent of the spread of lengths)."""


@dataclass(frozen=True)
class Workload:
    """The training set.

    Attributes:
        num: utterances.
        mean_s: mean length in seconds.
        mix: rate in Hz -> share of the utterances; shares add up to 1.
        source: where the three are from.

    Raises:
        ListError: a number that is not above 0, or a rate that no model takes.
    """

    num: int
    mean_s: float
    mix: Mapping[int, float]
    source: str

    def __post_init__(self):
        for name, value in (("num_utts", self.num), ("mean_s", self.mean_s)):
            if value <= 0:
                raise ListError(f"--{name} {value}: expected a number above 0")
        unknown = sorted(set(self.mix) - set(RATES))
        if unknown or not self.mix:
            raise ListError(
                f"--fs_mix: {unknown or 'no rate'}; accepted rates in Hz: "
                f"{', '.join(map(str, RATES))}"
            )


def parse_mix(words: Optional[Sequence[str]]) -> Dict[int, float]:
    """`16000=3 48000=1` -> {16000: 0.75, 48000: 0.25}; without words all rates alike.

    Raises:
        ListError: a word of another form, or shares that are not above 0.
    """
    if not words:
        return {fs: 1 / len(RATES) for fs in RATES}
    shares: Dict[int, float] = {}
    for word in words:
        fs, _, share = word.partition("=")
        try:
            shares[int(fs)] = float(share or 1)
        except ValueError:
            raise ListError(
                f"--fs_mix {word}: expected RATE=SHARE, such as 16000=3 48000=1"
            ) from None
        if not 0 < shares[int(fs)] < float("inf"):
            raise ListError(f"--fs_mix {word}: the share must be above 0")
    total = sum(shares.values())
    return {fs: share / total for fs, share in shares.items()}


def read_workload(path: Path) -> Workload:
    """Of a rendered set (utt2fs and speech_length.scp) or of a list of audio files.

    A list is `uid fs path` as of stage 1 and of the challenge, or `uid path` as a wav.scp. Of more
    than HEADERS files a random sample's headers are read. Archived audio needs the folder's lists.

    Raises:
        ListError: no such list, or nothing in it can be read.
    """
    if path.is_dir():
        if not (path / "speech_length.scp").is_file():
            return read_workload(path / "wav.scp")
        rates = read_list(path / "utt2fs")
        lengths = read_list(path / "speech_length.scp")
        pairs = [(int(rates[uid]), int(lengths[uid])) for uid in lengths if uid in rates]
        return _workload(len(pairs), pairs, f"{path}: utt2fs and speech_length.scp")
    rows = read_list(path)
    files = {uid: _file_of(value) for uid, value in rows.items()}
    chosen = sorted(files)
    if len(chosen) > HEADERS:
        chosen = random.Random(0).sample(chosen, HEADERS)
    pairs, bad = [], 0
    for uid in chosen:
        try:
            info = soundfile.info(files[uid])
            pairs.append((info.samplerate, info.frames))
        except (soundfile.SoundFileError, OSError):
            bad += 1
    if not pairs:
        hint = " (archived audio: name the folder instead)" if _archived(files) else ""
        raise ListError(f"{path}: none of {len(chosen)} audio files can be read{hint}")
    read = f"headers of {len(pairs)} of {len(rows)} files"
    return _workload(len(rows), pairs, f"{path}: {read}" + (f", {bad} unreadable" if bad else ""))


def _file_of(value: str) -> str:
    fs, _, rest = value.partition(" ")
    return rest if fs.isdigit() and rest else value


def _archived(files: Mapping[str, str]) -> bool:
    return any(ARCHIVED.match(file) for file in files.values())


def _workload(num: int, pairs: List[Tuple[int, int]], source: str) -> Workload:
    """Rates that no model takes count as the next higher one, to which they are resampled."""
    if not pairs:
        raise ListError(f"{source}: no utterance stands in both lists")
    counts = Counter(next((r for r in RATES if r >= fs), RATES[-1]) for fs, _ in pairs)
    seconds = sum(samples / fs for fs, samples in pairs)
    mix = {fs: counts[fs] / len(pairs) for fs in sorted(counts)}
    return Workload(num, seconds / len(pairs), mix, source)
