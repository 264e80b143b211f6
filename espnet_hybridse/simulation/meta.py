"""meta.tsv: one line per simulated sample, in the challenge's columns plus our own."""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from espnet_hybridse.fileio.lists import ListError, atomic_path
from espnet_hybridse.simulation.config import CHALLENGE_MIX_GAIN

NO_TEXT = "<not-available>"
CLEAN_SNR_DB, NOISE_ONLY_SNR_DB = 100.0, -100.0
"""SNRs at which other tools, which know no such samples, render practically the same."""
NAME = re.compile(r"[^\s/]+")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of meta.tsv: all that rendering needs, besides the source lists.

    fs in Hz, length in samples at fs, `none` where there is no room response or augmentation.
    snr_dB of CLEAN_SNR_DB: without noise; of NOISE_ONLY_SNR_DB: noise alone, and
    silence as the target. level_db: RMS of the target's active parts re full scale, as far as
    peaks allow; 0, which they never allow, is as loud as can be. wind_mix_gain: of the mixture with
    wind; where a list does not say, 1, but in the challenge's own lists what its scripts do. speed:
    of the clean speech, 1 as recorded.
    """

    id: str
    noisy_path: str
    speech_uid: str
    speech_sid: str
    clean_path: str
    noise_uid: str
    snr_dB: float
    rir_uid: str
    augmentation: str
    fs: int
    length: int
    text: str = NO_TEXT
    lang: str = "unknown"
    seed: int = -1
    highpass_hz: float = 70.0
    early_ms: float = 50.0
    level_db: float = 0.0
    wind_mix_gain: float = -1.0
    speed: float = 1.0

    def __post_init__(self):
        theirs = self.seed < 0
        if self.wind_mix_gain < 0:
            gain = CHALLENGE_MIX_GAIN if theirs else 1.0
            object.__setattr__(self, "wind_mix_gain", gain)
        if theirs:  # a list of the challenge's tools: they seed with the id's number
            number = self.id.rpartition("_")[2]
            object.__setattr__(self, "seed", int(number) if number.isdigit() else 0)

    @property
    def noise_only(self) -> bool:
        """Whether the target is silence."""
        return self.snr_dB == NOISE_ONLY_SNR_DB


COLUMNS = tuple(spec.name for spec in dataclasses.fields(Sample))
NEEDED = COLUMNS[: COLUMNS.index("text")]
_values = attrgetter(*COLUMNS)


def write_meta(path: str | Path, samples: Iterable[Sample]) -> int:
    """Write meta.tsv atomically, a line at a time, and return the number of samples.

    Raises:
        ListError: there is no sample; nothing is written.
    """
    count = 0
    with atomic_path(path) as tmp:
        with open(tmp, "w", encoding="utf-8", newline="") as handle:
            handle.write("\t".join(COLUMNS) + "\n")
            for count, sample in enumerate(samples, 1):  # noqa: B007
                handle.write("\t".join(map(str, _values(sample))) + "\n")
        if not count:
            raise ListError(f"{path}: no sample to write")
    return count


def iter_meta(path: str | Path) -> Iterator[Sample]:
    """Read meta.tsv, ours or the challenge's, a line at a time; other columns are left aside.

    Raises:
        ListError: missing file, column or id, a value that is no number where one is needed, or no
            sample at all.
    """
    try:
        yield from _lines(Path(path))
    except UnicodeDecodeError as error:
        raise ListError(f"{path}: no text in UTF-8 ({error}); name a meta.tsv") from error


def _lines(path: Path) -> Iterator[Sample]:
    if not path.is_file():
        raise ListError(f"{path}: no such file; run 'hybridse simulate' with --params_only first")
    kinds = {spec.name: spec.type for spec in dataclasses.fields(Sample)}
    seen = set()
    with open(path, encoding="utf-8", newline="\n") as handle:
        header = handle.readline().rstrip("\r\n").split("\t")
        missing = [name for name in NEEDED if name not in header]
        if missing:
            raise ListError(f"{path}: no column {', '.join(missing)}; needed: {', '.join(NEEDED)}")
        columns = [(name, header.index(name), kinds[name]) for name in header if name in kinds]
        for number, line in enumerate(handle, 2):
            cells = line.rstrip("\r\n").split("\t")
            if cells == [""]:
                continue
            try:
                values = {k: kind(cells[i]) for k, i, kind in columns if i < len(cells)}
                sample = Sample(**values)
            except (TypeError, ValueError) as error:
                raise ListError(f"{path}:{number}: {error}") from error
            if not NAME.fullmatch(sample.id):
                raise ListError(
                    f"{path}:{number}: id {sample.id!r} names files and lines of lists; accepted: "
                    "no blank and no slash"
                )
            if sample.id in seen:
                raise ListError(f"{path}:{number}: id {sample.id!r} stands twice")
            seen.add(sample.id)
            yield sample
    if not seen:
        raise ListError(f"{path}: the list names no sample; at least one line is needed")


def read_meta(path: str | Path) -> list[Sample]:
    """All of :func:`iter_meta` at once."""
    return list(iter_meta(path))
