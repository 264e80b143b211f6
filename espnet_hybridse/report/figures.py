"""Figures of the report, each with the sentence that replaces it for who cannot see it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.pictures import pyplot, save
from espnet_hybridse.scoring.breakdown import Groups, breakdown
from espnet_hybridse.scoring.do_no_harm import BASELINE, changes
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.table import System, show, title
from espnet_hybridse.training.curves import read_curves, read_hours

MOST_COLUMNS = 4
"""Panels in one figure; more cannot be read on a phone."""
DPI = 110
MARKERS = "os^Dv*Px"
MIME = {".png": "image/png", ".webp": "image/webp", ".flac": "audio/flac"}


@dataclass(frozen=True)
class Figure:
    """A picture inside the page."""

    uri: str
    alt: str
    caption: str
    wide: bool = True
    """On a phone it keeps its size and is moved sideways, so that its letters can be read."""


def data_uri(path: Path) -> str:
    """A file as the text that can stand in its place."""
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{MIME[path.suffix]};base64,{encoded}"


def main_columns(columns: Sequence[str]) -> list[str]:
    """The columns that figures show: the challenge's first, then in the table's order."""
    return sorted(columns, key=lambda name: not METRICS[name].official)[:MOST_COLUMNS]


def breakdown_figure(
    kind: str, groups: Groups, systems: Sequence[System], columns: Sequence[str], folder: Path
) -> Figure:
    """Means and intervals of every group, a panel a column."""
    columns, table = main_columns(columns), groups[kind]
    figure, axes = pyplot().subplots(
        1, len(columns), figsize=(3.2 * len(columns), 0.9 + 0.42 * len(table)), sharey=True,
        squeeze=False, constrained_layout=True,
    )  # fmt: skip
    found = {name: breakdown(systems, uids) for name, uids in table.items()}
    sentences = []
    for axis, column in zip(axes[0], columns, strict=True):
        for i, system in enumerate(systems):
            shift = (i - (len(systems) - 1) / 2) * 0.6 / len(systems)
            points = [
                (found[name].cells[column][system.name], row + shift)
                for row, name in enumerate(table)
                if column in found[name].cells
            ]
            means, halves = [cell.mean for cell, _ in points], [cell.half for cell, _ in points]
            rows = [row for _, row in points]
            marker = MARKERS[i % len(MARKERS)]
            axis.errorbar(means, rows, xerr=halves, fmt=marker, ms=4, lw=1, label=system.name)
        axis.set_title(title(column), fontsize=9)
        axis.grid(axis="x", alpha=0.3)
    names = [f"{name} ({len(uids)})" for name, uids in table.items()]
    axes[0][0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    legend(figure, axes)
    for name in table:
        if columns[0] in found[name].cells:
            cells = found[name].cells[columns[0]]
            values = ", ".join(f"{s} {show(columns[0], c)}" for s, c in cells.items())
            sentences.append(f"{name}: {values}")
    path = folder / f"by_{kind.lower()}.png"
    save(figure, path, DPI)
    alt = f"Means by {kind.lower()}. {columns[0]}: {'; '.join(sentences)}. The table has the rest."
    return Figure(data_uri(path), alt, f"By {kind if kind == 'SNR' else kind.lower()}")


def legend(figure, axes) -> None:
    """One for all panels, below them; at the left, where a phone shows it."""
    handles, labels = axes[0][0].get_legend_handles_labels()
    ncols = min(len(labels), 2 * axes.shape[1])
    figure.legend(handles, labels, fontsize=8, loc="outside lower left", ncols=ncols)


def scatter_figure(systems: Sequence[System], columns: Sequence[str], folder: Path) -> Figure:
    """Every utterance before and after, a panel a column; below the diagonal is harm."""
    noisy = next(system for system in systems if system.name == BASELINE)
    others = [system for system in systems if system is not noisy]
    columns = main_columns(columns)
    figure, axes = pyplot().subplots(
        1, len(columns), figsize=(3.2 * len(columns), 3.3), squeeze=False, constrained_layout=True
    )
    sentences = []
    for axis, column in zip(axes[0], columns, strict=True):
        every = []
        for i, system in enumerate(others):
            pairs = [
                (c.before, c.after) for c in changes(noisy, system, column) if c.after is not None
            ]
            x, y = np.array(pairs).T
            axis.plot(x, y, MARKERS[i % len(MARKERS)], ms=4, alpha=0.6, label=system.name)
            every += [x, y]
            worse = np.mean((y < x) == METRICS[column].higher_is_better)
            sentences.append(f"{column}, {system.name}: {100 * worse:.0f} % of points are harm")
        ends = [np.concatenate(every).min(), np.concatenate(every).max()]
        axis.plot(ends, ends, color="black", lw=0.8)
        axis.set_title(title(column), fontsize=9)
        axis.set_xlabel(BASELINE.lower())
    axes[0][0].set_ylabel("enhanced")
    legend(figure, axes)
    path = folder / "scatter.png"
    save(figure, path, DPI)
    alt = "Scores of each utterance before and after enhancement. " + "; ".join(sentences) + "."
    return Figure(data_uri(path), alt, "Every utterance, noisy against enhanced")


def curves_figure(experiments: Mapping[str, Path], path: Path, cores: int | None = None) -> Figure:
    """Training and validation loss of each training over its hours, a panel each.

    Args:
        experiments: name -> folder with a train.log.
        path: PNG to write and to show.
        cores: that each training had: the axis then has core-hours.
    """
    figure, axes = pyplot().subplots(
        1, len(experiments), figsize=(4 * len(experiments), 3), squeeze=False,
        constrained_layout=True,
    )  # fmt: skip
    unit = "hours" if cores is None else "core-hours"
    sentences = []
    for axis, (name, folder) in zip(axes[0], experiments.items(), strict=True):
        log = folder / "train.log"
        curves, spent = read_curves(log), read_hours(log)
        for mode in ("train", "valid"):
            points = [(spent[n] * (cores or 1), v) for n, v in curves[mode].get("loss", [])]
            axis.plot(*np.array(points or [(0, np.nan)]).T, marker=".", ms=3, label=mode)
        if points:
            (first, start), (last, end) = points[0], points[-1]
            sentences.append(
                f"{name}: validation loss {start:.3f} after {first:.2g} {unit}, {end:.3f} after "
                f"{last:.2g}"
            )
        axis.set(title=name, xlabel=f"{unit} of training", ylabel="loss")
        axis.legend()
    save(figure, path, DPI)
    alt = f"Training and validation loss over {unit}. " + "; ".join(sentences)
    return Figure(data_uri(path), alt, f"Loss over {unit} of training")
