"""Scored systems, their means with intervals, and the results table."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.lists import PathLike
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.scoring.metrics.metric import CATEGORIES
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.rows import Row, read_quarantine, read_rows

REPLICATES = 1000
SEED = 0
MARK = "†"
"""Stands behind a value whose column was in a loss of its system: no judge of it."""
SETTINGS = "scoring.json"


@dataclass(frozen=True)
class System:
    """One scored system, as `score` left it."""

    name: str
    rows: dict[str, Row]
    quarantined: dict[str, str]
    in_loss: frozenset[str] = frozenset()
    """Columns that the system was trained on, as `hybridse score --model` found them."""

    @classmethod
    def read(cls, name: str, out_dir: PathLike) -> "System":
        """Raises FileNotFoundError when `out_dir` holds no scores."""
        path = Path(out_dir) / "scores.jsonl"
        rows = read_rows(path)
        if not rows:
            parts = any(Path(out_dir).glob("scores.*of*.jsonl"))
            how = "again without --split, which merges what array jobs did" if parts else "first"
            raise FileNotFoundError(f"{name}: no scores in {path}; run 'hybridse score' {how}")
        asked = settings(out_dir) if (Path(out_dir) / SETTINGS).is_file() else {}
        quarantined = read_quarantine(Path(out_dir) / "quarantine.tsv")
        return cls(name, rows, quarantined, frozenset(asked.get("in_loss", ())))

    def only(self, uids: Container[str]) -> "System":
        """The same system on some of the utterances."""
        rows = {uid: row for uid, row in self.rows.items() if uid in uids}
        quarantined = {u: r for u, r in self.quarantined.items() if u in uids}
        return System(self.name, rows, quarantined, self.in_loss)

    def holds(self) -> str:
        """What there is of it, in a few words."""
        columns = [name for name in METRICS if self.values(name)]
        good = sorted(self.rows.keys() - self.quarantined.keys())
        first = f"{good[0]}, …" if good else "none"
        return f"{', '.join(columns) or 'no metric'} on {len(good)} utterances ({first})"

    def values(self, column: str) -> dict[str, float]:
        """uid -> value, of the utterances that have one."""
        return {
            uid: row["scores"][column]
            for uid, row in self.rows.items()
            if row["scores"].get(column) is not None and uid not in self.quarantined
        }

    def tried(self, column: str) -> set[str]:
        """The utterances of which this system owes a value, whether there is one or not."""
        return {u for u, row in self.rows.items() if column in row["scores"]} | set(
            self.quarantined
        )


def settings(out_dir: PathLike) -> dict:
    """What `score` was asked for; raises FileNotFoundError when it has not been here."""
    return json.loads((Path(out_dir) / SETTINGS).read_text(encoding="utf-8"))


def read_systems(out_dirs: Mapping[str, PathLike]) -> list[System]:
    """{name: out_dir} -> systems, in the order given."""
    if not out_dirs:
        raise ValueError("no system to tabulate; name at least one as Noisy=DIR")
    return [System.read(name, out_dir) for name, out_dir in out_dirs.items()]


def columns_of(systems: Sequence[System]) -> list[str]:
    """Columns that all systems have on at least one common utterance, by category."""
    present = [name for name in METRICS if common_utterances(systems, name)]
    return sorted(present, key=lambda name: CATEGORIES.index(METRICS[name].category))


def common_utterances(systems: Sequence[System], column: str) -> list[str]:
    """The utterances that have a value in every system.

    Means over different utterances cannot be compared: a system would gain by failing on the hard
    ones.
    """
    return sorted(set.intersection(*(set(system.values(column)) for system in systems)))


def mean_and_interval(
    values: Sequence[float], weights: Sequence[float], replicates: int = REPLICATES
) -> tuple[float, float]:
    """Weighted mean and half the width of its 95 % bootstrap interval over utterances.

    One value has no interval: half its width is NaN.
    """
    values, weights = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    if values.size == 1:
        return float(values[0]), float("nan")
    rng, size = np.random.default_rng(SEED), values.size
    weighted, means = values * weights, []
    # A million draws at once: all 1000 replicates of a large test set would fill the memory.
    block = max(1, 10**6 // size)
    for start in range(0, replicates, block):
        drawn = rng.integers(size, size=(min(block, replicates - start), size))
        means.append(weighted[drawn].sum(axis=1) / weights[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(np.average(values, weights=weights)), float(high - low) / 2


@dataclass(frozen=True)
class Cell:
    """One mean with half the width of its 95 % interval, NaN where one utterance is all."""

    mean: float
    half: float


@dataclass(frozen=True)
class Statistics:
    """The numbers of the results table."""

    systems: list[str]
    cells: dict[str, dict[str, Cell]]
    """Column -> system -> mean over the utterances that all systems have."""
    counts: dict[str, int]
    """Column -> how many utterances those are."""
    in_loss: dict[str, frozenset[str]]
    """System -> columns that it was trained on."""

    def shown(self, column: str, system: str) -> str:
        """A cell of the table, marked where the column was in a loss of the system."""
        text = show(column, self.cells[column][system])
        return f"{text} {MARK}" if column in self.in_loss[system] else text


def statistics(systems: Sequence[System]) -> Statistics:
    """Means over utterances common to all systems, of the columns that all of them have."""
    table: dict[str, dict[str, Cell]] = {}
    counts = {}
    for column in columns_of(systems):
        uids = common_utterances(systems, column)
        counts[column] = len(uids)
        table[column] = {}
        for system in systems:
            values = system.values(column)
            weights = [system.rows[uid]["weights"].get(column, 1) for uid in uids]
            mean = mean_and_interval([values[uid] for uid in uids], weights)
            table[column][system.name] = Cell(*mean)
    in_loss = {system.name: system.in_loss for system in systems}
    return Statistics(list(in_loss), table, counts, in_loss)


def results_table(out_dirs: Mapping[str, PathLike]) -> Table:
    """{system: out_dir} -> means with 95 % intervals, over utterances common to all systems.

    Raises:
        FileNotFoundError: a folder holds no scores.
        ValueError: the systems have no metric of the same utterance.
    """
    systems = read_systems(out_dirs)
    found = statistics(systems)
    if not found.cells:
        has = "; ".join(f"{system.name}: {system.holds()}" for system in systems)
        raise ValueError(
            f"no metric has a value for the same utterance in every system ({has}); score them "
            "with the same lists and --metrics"
        )
    rows = [[name, *(found.shown(c, name) for c in found.cells)] for name in found.systems]
    rows.append(["utterances", *map(str, found.counts.values())])
    return Table(["System", *map(title, found.cells)], rows)


def show(column: str, cell: Cell) -> str:
    """A mean and its interval with as many decimals as the column's range asks for."""
    digits = 3 if METRICS[column].range[1] <= 1 else 2
    mean = f"{cell.mean:.{digits}f}"
    return mean if np.isnan(cell.half) else f"{mean} ± {cell.half:.{digits}f}"


def title(column: str) -> str:
    """The column's name and which way is better."""
    return f"{column} {'↑' if METRICS[column].higher_is_better else '↓'}"
