"""meta.tsv: one line per simulated sample, in the challenge's columns plus our own."""

import csv
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from espnet_hybridse.lists import ListError, atomic_path

NO_TEXT = "<not-available>"


@dataclass(frozen=True)
class Sample:
    """One line of meta.tsv: all that rendering needs, besides the source lists.

    fs in Hz, length in samples at fs, `none` where there is no room response or augmentation.
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

    def __post_init__(self):
        if self.seed < 0:  # a list of the challenge's tools: they seed with the id's number
            number = self.id.rpartition("_")[2]
            object.__setattr__(self, "seed", int(number) if number.isdigit() else 0)


COLUMNS = tuple(spec.name for spec in dataclasses.fields(Sample))
NEEDED = COLUMNS[: COLUMNS.index("text")]


def write_meta(path: str | Path, samples: Iterable[Sample]) -> None:
    """Write meta.tsv atomically."""
    with atomic_path(path) as tmp, open(tmp, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(
            handle,
            delimiter="\t",
            quoting=csv.QUOTE_NONE,
            quotechar=None,  # transcripts hold quotes
            lineterminator="\n",
        )
        writer.writerow(COLUMNS)
        writer.writerows(dataclasses.astuple(sample) for sample in samples)


def read_meta(path: str | Path) -> list[Sample]:
    """Read meta.tsv, ours or the challenge's; other columns are left aside.

    Raises:
        ListError: missing file, column or id, or a value that is no number where one is needed.
    """
    path = Path(path)
    if not path.is_file():
        raise ListError(f"{path}: no such file; run 'hybridse simulate' with --params_only first")
    kinds = {spec.name: spec.type for spec in dataclasses.fields(Sample)}
    samples, seen = [], set()
    with open(path, encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
        if missing:
            raise ListError(f"{path}: no column {', '.join(missing)}; needed: {', '.join(NEEDED)}")
        for row in reader:
            try:
                values = {k: kinds[k](v) for k, v in row.items() if k in kinds and v is not None}
                sample = Sample(**values)
            except (TypeError, ValueError) as error:
                raise ListError(f"{path}:{reader.line_num}: {error}") from error
            if sample.id in seen:
                raise ListError(f"{path}:{reader.line_num}: id {sample.id!r} stands twice")
            seen.add(sample.id)
            samples.append(sample)
    return samples
