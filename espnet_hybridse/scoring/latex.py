"""The results table in LaTeX, as in a paper."""

from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.table import Statistics

SPECIAL = {letter: "\\" + letter for letter in "&%_#${}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def latex_table(found: Statistics, caption: str, best_from: int = 1) -> str:
    r"""A `table` of `booktabs` rules: a row a system, the best mean of each column in bold.

    Accuracies and similarities that end at 1 have two decimals, CAcc is in percent: as in the
    paper's Table 1.

    Args:
        best_from: the first row that can be the best; 1 leaves out the unprocessed input.
    """
    columns = list(found.cells)
    arrows = [r"$\uparrow$" if METRICS[c].higher_is_better else r"$\downarrow$" for c in columns]
    names = [escape(name + (" (%)" if percent(name) else "")) for name in columns]
    heads = [f"{name} {arrow}" for name, arrow in zip(names, arrows, strict=True)]
    rows = [" & ".join(["Method", *heads])]
    texts: dict[str, list[str]] = {system: [] for system in found.systems}
    for column in columns:
        scale = 100 if percent(column) else 1
        shown = {s: round(scale * cell.mean, 2) for s, cell in found.cells[column].items()}
        rivals = [shown[s] for s in found.systems[best_from:]] or list(shown.values())
        best = max(rivals) if METRICS[column].higher_is_better else min(rivals)
        for i, system in enumerate(found.systems):
            text = f"{shown[system]:.2f}"
            wins = shown[system] == best and (i >= best_from or len(found.systems) == 1)
            texts[system].append(rf"\textbf{{{text}}}" if wins else text)
    rows += [" & ".join([escape(system), *cells]) for system, cells in texts.items()]
    body = [rf"{rows[0]} \\", r"\midrule", *(rf"{row} \\" for row in rows[1:])]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{escape(caption)}}}",
            rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def percent(column: str) -> bool:
    """Whether the paper's table has this column in percent."""
    return column.startswith(("CAcc", "LID"))
