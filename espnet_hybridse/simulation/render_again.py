"""A second rendering of some rows of a set, compared byte for byte with the first."""

import filecmp
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from espnet_hybridse.fileio.audio import write_audio
from espnet_hybridse.fileio.decode import read_samples
from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.fileio.lists import ListError
from espnet_hybridse.simulation.degrade import BadSource, simulate
from espnet_hybridse.simulation.meta import Sample
from espnet_hybridse.simulation.provenance import read_origin
from espnet_hybridse.simulation.set_lists import RenderedFiles
from espnet_hybridse.simulation.sources import Sources


@dataclass(frozen=True)
class Reproduction:
    """Rows that were rendered again, what differed (id: why), or why none was."""

    compared: int = 0
    differences: tuple[str, ...] = ()
    skipped: str = ""

    def __str__(self) -> str:
        if self.skipped:
            return f"not rendered again: {self.skipped}"
        same = self.compared - len(self.differences)
        return "; ".join(
            [f"{same} of {self.compared} rows rendered again to the same bytes", *self.differences]
        )


def set_sources(folder: str | Path) -> Sources | None:
    """The sources that a set was rendered from, as its simulation.json names them, or None."""
    origin = read_origin(folder)
    if origin is None:
        return None
    try:
        return Sources.from_folder(origin.sources)
    except ListError:
        return None


def reproduce(
    folder: Path, samples: list[Sample], sources: Sources | None, count: int, seed: int = 0
) -> Reproduction:
    """Render `count` random rows of a set once more and compare both files of each."""
    if sources is None:
        return Reproduction(skipped=f"{folder} does not say what it was rendered from, or it moved")
    files = RenderedFiles()
    there = [sample for sample in samples if files.has(sample)]
    chosen = np.random.default_rng(seed).permutation(len(there))[:count]
    differences = []
    with TemporaryDirectory() as scratch:
        for sample in (there[index] for index in sorted(chosen.tolist())):
            try:
                noisy, clean = simulate(sample, sources)
            except BadSource as error:
                differences.append(f"{sample.id}: {error}")
                continue
            for path, wav in ((sample.noisy_path, noisy), (sample.clean_path, clean)):
                again = Path(scratch) / Path(path).name
                write_audio(again, wav, sample.fs)
                if not filecmp.cmp(path, again, shallow=False):
                    differences.append(f"{path}: {_difference(path, again)}")
    return Reproduction(len(chosen), tuple(differences))


def _difference(path: str, again: Path) -> str:
    """Whether the samples differ, or only how the file stores them (another libsndfile)."""
    try:
        first, second = read_samples(path)[0], read_samples(again)[0]
    except BadAudio as error:
        return str(error)
    if first.shape != second.shape:
        return f"{first.shape[1]} samples, now {second.shape[1]}"
    largest = np.abs(first - second).max()
    return f"samples differ by up to {largest:.2g}" if largest else "same samples, stored otherwise"
