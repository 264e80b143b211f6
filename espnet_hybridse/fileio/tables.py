"""One table of text: as Markdown, as LaTeX, as HTML."""

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BAR = r"\|"
"""How Markdown writes a `|` that is part of a cell."""
LATEX = {letter: "\\" + letter for letter in "&%_#${}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^\dagger$",
}


@dataclass(frozen=True)
class Table:
    """Rows of cells below a head. The first column is text, aligned left; the others right.

    Args:
        head: titles of the columns.
        rows: as many cells each.
        links: text of a first cell -> where it leads.
        text: titles of further columns that are aligned left.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    links: Mapping[str, str] = field(default_factory=dict)
    text: Collection[str] = ()

    @classmethod
    def of(
        cls, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, str]]
    ) -> "Table":
        """Values as text; a column without any value is left out.

        Args:
            rows: key -> value; None or "" is an empty cell.
            columns: key -> (title, format such as "{:.2f}").
        """

        def cell(row: Mapping[str, Any], key: str) -> str:
            value = row.get(key)
            return "" if value in (None, "") else columns[key][1].format(value)

        used = [key for key in columns if any(cell(row, key) for row in rows)]
        text = [key for key in used if all(isinstance(row.get(key, ""), str) for row in rows)]
        return cls(
            [columns[key][0] for key in used],
            [[cell(row, key) for key in used] for row in rows],
            text=[columns[key][0] for key in text],
        )

    def markdown(self) -> str:
        """Lines of a Markdown table; a `|` inside a cell does not end it."""
        sides = [":--", *(":--" if name in self.text else "--:" for name in self.head[1:])]
        lines = [[_bars(cell) for cell in self.head], sides]
        for first, *others in self.rows:
            name = _bars(first)
            if first in self.links:
                name = f"[{name}]({self.links[first]})"
            lines.append([name, *map(_bars, others)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def html(self, label: str) -> str:
        """A table that scrolls by itself where the page is narrow; `label` is read aloud."""
        parts = [
            f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}">',
            "<table>",
            f"<thead><tr>{''.join(map(_title, self.head))}</tr></thead>",
            "<tbody>",
        ]
        for first, *others in self.rows:
            name = html.escape(first)
            if first in self.links:
                name = f'<a href="{html.escape(self.links[first])}">{name}</a>'
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in others)
            parts.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
        return "\n".join([*parts, "</tbody>", "</table>", "</div>"])

    def latex(self, caption: str, bold: Collection[tuple[int, int]] = ()) -> str:
        r"""A `table` of `booktabs` rules.

        Args:
            bold: (row, column) of the cells to stress, both from 0.
        """
        rows = []
        for i, row in enumerate(self.rows):
            cells = [
                rf"\textbf{{{escape(cell)}}}" if (i, j) in bold else escape(cell)
                for j, cell in enumerate(row)
            ]
            rows.append(rf"{' & '.join(cells)} \\")
        return "\n".join(
            [
                r"% needs \usepackage{booktabs}",
                r"\begin{table}[t]",
                r"\centering",
                rf"\caption{{{escape(caption)}}}",
                rf"\begin{{tabular}}{{l{'c' * (len(self.head) - 1)}}}",
                r"\toprule",
                rf"{' & '.join(map(escape, self.head))} \\",
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def _bars(cell: str) -> str:
    return cell.replace("|", BAR)


def _title(cell: str) -> str:
    return f'<th scope="col">{html.escape(cell)}</th>'
