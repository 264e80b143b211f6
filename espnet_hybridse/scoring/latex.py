"""The results table as in a paper."""

from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.table import MARK, Statistics, title


def latex_table(found: Statistics, caption: str, best_from: int = 1) -> str:
    """A `table` of `booktabs` rules: a row a system, the best mean of each column in bold.

    Accuracies and similarities that end at 1 have two decimals, CAcc is in percent: as in the
    paper's Table 1.

    Args:
        best_from: the first row that can be the best; 1 leaves out the unprocessed input.
    """
    rows = [[system] for system in found.systems]
    bold, first = set(), best_from if len(rows) > best_from else 0
    for j, (column, cells) in enumerate(found.cells.items(), 1):
        scale = 100 if percent(column) else 1
        shown = [round(scale * cells[system].mean, 2) for system in found.systems]
        best = (max if METRICS[column].higher_is_better else min)(shown[first:])
        for i, (system, value) in enumerate(zip(found.systems, shown, strict=True)):
            rows[i].append(f"{value:.2f}{MARK if column in found.in_loss[system] else ''}")
            if value == best and i >= first:
                bold.add((i, j))
    names = [title(c).replace(c, c + " (%)") if percent(c) else title(c) for c in found.cells]
    return Table(["Method", *names], rows).latex(caption, bold)


def percent(column: str) -> bool:
    """Whether the paper's table has this column in percent."""
    return column.startswith(("CAcc", "LID"))
