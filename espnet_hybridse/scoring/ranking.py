"""The challenge's ranking of systems."""

from collections.abc import Mapping, Sequence

from espnet_hybridse.fileio.lists import PathLike
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.scoring.metrics.metric import CATEGORIES
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.table import read_systems, statistics

SAME = 9
"""Means are compared to so many decimals: beyond are the errors of summing."""


def dense_rank(values: Sequence[float], higher_is_better: bool) -> list[int]:
    """Place of each value; equal ones share a place and the next one is not skipped (1223)."""
    rounded = [round(value, SAME) for value in values]
    order = {value: i for i, value in enumerate(sorted(set(rounded), reverse=higher_is_better), 1)}
    return [order[value] for value in rounded]


def rank(
    means: Mapping[str, Mapping[str, float]],
) -> tuple[dict[str, dict[str, float]], dict[str, float], dict[str, int]]:
    """Apply the challenge's rule to column -> system -> mean.

    Dense rank of the means in each column, mean of the ranks in each category, mean of the
    categories; the places of the systems are the dense rank of that.

    Returns:
        category -> system -> mean rank; system -> overall; system -> place.
    """
    systems = list(next(iter(means.values())))
    ranks: dict[str, list[list[int]]] = {}
    for column, values in means.items():
        metric = METRICS[column]
        row = dense_rank([values[system] for system in systems], metric.higher_is_better)
        ranks.setdefault(metric.category, []).append(row)
    categories = {
        category: {
            system: sum(column) / len(column)
            for system, column in zip(systems, zip(*ranks[category], strict=True), strict=True)
        }
        for category in CATEGORIES
        if category in ranks
    }
    overall = {
        system: sum(values[system] for values in categories.values()) / len(categories)
        for system in systems
    }
    places = dense_rank([overall[system] for system in systems], higher_is_better=False)
    return categories, overall, dict(zip(systems, places, strict=True))


def ranked_columns(columns: Sequence[str], stand_ins: bool) -> list[str]:
    """The challenge's columns among `columns`; where one is absent, its stand-in if wanted."""
    chosen = []
    for name in columns:
        official = METRICS[name].stands_for
        if METRICS[name].official or (stand_ins and official and official not in columns):
            chosen.append(name)
    return chosen


def rank_table(
    out_dirs: Mapping[str, PathLike], stand_ins: bool = False
) -> tuple[Table, list[str]]:
    """{system: out_dir} -> the ranking, best first, and sentences that say what it counts.

    Raises:
        ValueError: fewer than two systems, or no column that the challenge ranks by.
    """
    if len(out_dirs) < 2:
        raise ValueError("--rank needs two systems at least, as NAME=DIR or DIR")
    found = statistics(read_systems(out_dirs))
    columns = ranked_columns(list(found.cells), stand_ins)
    if not columns:
        hint = "" if stand_ins else "; --stand_ins counts stand-ins where the official is absent"
        raise ValueError(
            f"no column that the challenge ranks by is there (there are: "
            f"{', '.join(found.cells)}){hint}"
        )
    means = {c: {s: cell.mean for s, cell in found.cells[c].items()} for c in columns}
    categories, overall, places = rank(means)
    rows = []
    for system in sorted(places, key=lambda name: (places[name], overall[name])):
        ranks = [f"{values[system]:.2f}" for values in categories.values()]
        rows.append([str(places[system]), system, *ranks, f"{overall[system]:.3f}"])
    counted = [f"Counted: {', '.join(columns)}. Mean ranks, 1 is the best."]
    official = [name for name, metric in METRICS.items() if metric.official]
    if absent := [name for name in official if name not in columns]:
        counted.append(f"The challenge counts these too: {', '.join(absent)}.")
    trained = {c for s in found.systems for c in found.in_loss[s]} & set(columns)
    if trained:
        counted.append(f"In a loss of one of the systems: {', '.join(sorted(trained))}.")
    return Table(["Place", "System", *categories, "overall"], rows), counted
