"""What a hybrid does with its two branches: one figure of a few utterances, the mask over all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_hybridse.fileio.audio import BadAudio, read_audio
from espnet_hybridse.fileio.lists import ListError, Quarantine, read_list
from espnet_hybridse.fileio.pictures import Picture, plot_branches, power_db
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.inference.enhancer import Enhancer

FIGURE = "branches.png"
EDGES_HZ = (0, 1000, 2000, 4000, 8000, 24000)
BIN_HZ = 50
EXTREME = 0.1
LEVEL_DB = 40.0
"""Bins this far below the loudest one count as silence: the mask matters little there."""
TITLES = ("Band (kHz)", "mean M", "deviation", "M > 0.9 (Dis.)", "M < 0.1 (Gen.)", "bins")


@dataclass(frozen=True)
class Branches:
    """What was seen: the figure's path, the mask's table and what it was computed on."""

    figure: Path
    table: Table
    text: str


def look_at_branches(
    enhancer: Enhancer,
    wavs: Path,
    clean: Path | None,
    out: Path,
    uids: Sequence[str] = (),
    pictures: int = 5,
    max_utts: int | None = None,
) -> Branches:
    """Run a hybrid over a list and draw `branches.png`.

    Args:
        enhancer: of a hybrid.
        wavs: wav.scp of noisy speech at the seven rates.
        clean: spk1.scp of the same utterances, or None.
        out: folder to write.
        uids: utterances of the figure; else `pictures` of them, evenly spread over the list.
        max_utts: look at the first so many of the list only; those of the figure as well.

    Raises:
        ListError: a list is missing or does not name a uid.
        ValueError: the model is no hybrid.
    """
    table, references = read_list(wavs), read_list(clean) if clean else {}
    for uid in uids:
        if uid not in table:
            raise ListError(f"--uids {uid}: {wavs} does not name it; it names {min(table)}, …")
    listed = sorted(table)[:max_utts]
    shown = list(uids) or spread(listed, pictures)
    statistics, columns, seconds = MaskStatistics(), {}, 0.0
    quarantine = Quarantine(out / "quarantine.tsv")
    for uid in tqdm(sorted({*listed, *shown}), desc="report", unit="utt"):
        try:
            wav, fs = read_audio(table[uid])
        except BadAudio as error:
            quarantine.add(uid, table[uid], str(error))
            continue
        parts = enhancer.branches(wav, fs)
        mask = parts.pop("mask")
        # On the mask's grid (20 ms, 10 ms, 50 Hz) but for its first frame, which is half padding.
        level = 10 ** (power_db(wav, fs)[0].T / 20)
        frames = min(len(mask) - 1, len(level))
        statistics.add(mask[1 : frames + 1], level[:frames, : mask.shape[1]])
        seconds += wav.size / fs
        if uid in shown:
            column: list[Picture] = [Picture("Noisy", wave=wav)]
            names = {"disc": "Dis.", "gen": "Gen.", "fused": "Hybrid"}
            column += [Picture(names[name], wave=wave) for name, wave in parts.items()]
            column.append(Picture("M", mask=mask))
            if uid in references:
                column.append(Picture("Clean", wave=read_audio(references[uid])[0]))
            columns[f"{uid}, {fs} Hz"] = (fs, column)
    if not columns:
        raise ListError(f"{wavs}: no utterance could be read; see {out / 'quarantine.tsv'}")
    plot_branches(columns, out / FIGURE)
    weights = enhancer.loaded.loader.files.weights
    text = (
        f"M of {seconds / 60:.1f} minutes of speech, bins within 40 dB of each utterance's "
        f"loudest; {quarantine.count} files quarantined. Model: {weights}."
    )
    return Branches(out / FIGURE, Table(TITLES, list(statistics.rows())), text)


def spread(listed: Sequence[str], count: int) -> list[str]:
    """`count` of them, evenly spread."""
    return list(listed[:: max(len(listed) // count, 1)][:count])


class MaskStatistics:
    """Statistics of M over the audible bins of many utterances, by frequency band."""

    def __init__(self) -> None:
        # count, sum, sum of squares, near one, near zero
        self.sums = np.zeros((len(EDGES_HZ) - 1, 5))

    def add(self, mask: np.ndarray, level: np.ndarray) -> None:
        """One utterance: its mask and the magnitude of its input, (T, F) both, bins of 50 Hz."""
        audible = level > level.max() * 10 ** (-LEVEL_DB / 20)
        for row, (low, high) in enumerate(zip(EDGES_HZ[:-1], EDGES_HZ[1:], strict=True)):
            part = slice(low // BIN_HZ, high // BIN_HZ)
            values = mask[:, part][audible[:, part]].astype(float)
            near_one, near_zero = values > 1 - EXTREME, values < EXTREME
            self.sums[row] += [
                values.size,
                values.sum(),
                np.square(values).sum(),
                near_one.sum(),
                near_zero.sum(),
            ]

    def rows(self) -> Iterator[list[str]]:
        """Cells of each band that has any bin, in the order of `TITLES`."""
        for (low, high), (count, total, squares, ones, zeros) in zip(
            zip(EDGES_HZ[:-1], EDGES_HZ[1:], strict=True), self.sums, strict=True
        ):
            if not count:
                continue
            mean = total / count
            deviation = np.sqrt(max(squares / count - mean**2, 0.0))
            shares = [f"{100 * share / count:.1f} %" for share in (ones, zeros)]
            band = f"{low / 1000:g} to {high / 1000:g}"
            yield [band, f"{mean:.3f}", f"{deviation:.3f}", *shares, f"{int(count)}"]
