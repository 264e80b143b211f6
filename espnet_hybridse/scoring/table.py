"""The results table and the do-no-harm table, as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.lists import PathLike
from espnet_hybridse.scoring.metric import CATEGORIES
from espnet_hybridse.scoring.registry import METRICS
from espnet_hybridse.scoring.rows import Row, read_quarantine, read_rows

REPLICATES = 1000
SEED = 0


@dataclass(frozen=True)
class System:
    """One scored system, as `score` left it."""

    name: str
    rows: dict[str, Row]
    quarantined: dict[str, str]

    @classmethod
    def read(cls, name: str, out_dir: PathLike) -> "System":
        """Raises FileNotFoundError when `out_dir` holds no scores."""
        path = Path(out_dir) / "scores.jsonl"
        rows = read_rows(path)
        if not rows:
            raise FileNotFoundError(f"{name}: no scores in {path}; run 'hybridse score' first")
        return cls(name, rows, read_quarantine(Path(out_dir) / "quarantine.tsv"))

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


def read_systems(out_dirs: Mapping[str, PathLike]) -> list[System]:
    """{name: out_dir} -> systems, in the order given."""
    if not out_dirs:
        raise ValueError("no system to tabulate; name at least one as Noisy=DIR")
    return [System.read(name, out_dir) for name, out_dir in out_dirs.items()]


def columns_of(systems: Sequence[System]) -> list[str]:
    """Columns with at least one value in every system, by category."""
    present = [name for name in METRICS if all(system.values(name) for system in systems)]
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
    """Weighted mean and half the width of its 95 % bootstrap interval over utterances."""
    values, weights = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    rng = np.random.default_rng(SEED)
    means = np.empty(replicates)
    for i in range(replicates):
        drawn = rng.integers(values.size, size=values.size)
        means[i] = np.average(values[drawn], weights=weights[drawn])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.average(values, weights=weights)), float(high - low) / 2


def results_table(out_dirs: Mapping[str, PathLike]) -> str:
    """{system: out_dir} -> means with 95 % intervals, over utterances common to all systems."""
    systems = read_systems(out_dirs)
    columns = columns_of(systems)
    cells: dict[str, list[str]] = {system.name: [] for system in systems}
    counts = []
    for column in columns:
        uids = common_utterances(systems, column)
        counts.append(str(len(uids)))
        statistics = []
        for system in systems:
            values = system.values(column)
            weights = [system.rows[uid]["weights"].get(column, 1) for uid in uids]
            if uids:
                statistics.append(mean_and_interval([values[uid] for uid in uids], weights))
        digits = 3 if METRICS[column].range[1] <= 1 else 2
        texts = [f"{mean:.{digits}f} ± {half:.{digits}f}" for mean, half in statistics]
        for system, text in zip(systems, texts or ["–"] * len(systems), strict=True):
            cells[system.name].append(text)
    lines = _header(["System", *map(_title, columns)])
    lines += [_line([name, *row]) for name, row in cells.items()]
    lines.append(_line(["*utterances*", *counts]))
    return "\n".join(lines)


def harm_table(out_dirs: Mapping[str, PathLike], baseline: str = "Noisy") -> str:
    """Share of utterances that each system made worse than `baseline`, per metric, and by how much.

    In brackets stands the mean change of those that were made worse. An utterance that the
    baseline has a value for and the system failed on counts as worse, without an amount.

    Raises:
        ValueError: no system is called `baseline`.
    """
    if baseline not in out_dirs:
        raise ValueError(
            f"no system is called {baseline!r} (there are: {', '.join(out_dirs)}); score the "
            f"unprocessed input too and pass {baseline}=DIR"
        )
    systems = read_systems(out_dirs)
    noisy = next(system for system in systems if system.name == baseline)
    columns = columns_of(systems)
    lines = _header(["Worse than " + baseline, *columns])
    for system in systems:
        if system is noisy:
            continue
        shares = []
        for column in columns:
            before, after = noisy.values(column), system.values(column)
            sign = 1 if METRICS[column].higher_is_better else -1
            uids = before.keys() & system.tried(column)
            worse = [u for u in uids if u not in after or sign * (after[u] - before[u]) < 0]
            amounts = [after[u] - before[u] for u in worse if u in after]
            amount = f" ({np.mean(amounts):+.2f})" if amounts else ""
            shares.append(f"{100 * len(worse) / len(uids):.1f} %{amount}" if uids else "–")
        lines.append(_line([system.name, *shares]))
    return "\n".join(lines)


def _title(column: str) -> str:
    return f"{column} {'↑' if METRICS[column].higher_is_better else '↓'}"


def _header(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line([":--", *["--:"] * (len(cells) - 1)])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
