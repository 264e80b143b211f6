"""One table in three notations."""

import re

import pytest

from espnet_hybridse.fileio.tables import Table

TABLE = Table(["A|B", "PESQ ↑"], [["x_1 & <b>", "2.00 †"], ["y", "1.0"]], {"y": "worst/y.png"})


def test_markdown_keeps_cells_apart_and_links_first_cells():
    assert TABLE.markdown().splitlines() == [
        r"| A\|B | PESQ ↑ |",
        "| :-- | --: |",
        "| x_1 & <b> | 2.00 † |",
        "| [y](worst/y.png) | 1.0 |",
    ]


def test_html_shows_text_as_it_is():
    text = TABLE.html('a "label"')
    assert "x_1 &amp; &lt;b&gt;" in text and 'aria-label="a &quot;label&quot;"' in text
    assert '<th scope="row"><a href="worst/y.png">y</a></th><td>1.0</td>' in text
    assert len(re.findall("<tr>", text)) == 3


def test_latex_escapes_and_stresses():
    text = TABLE.latex("50 % & more", bold={(0, 1)})
    assert r"A\textbar{}B & PESQ $\uparrow$ \\" in text and r"\caption{50 \% \& more}" in text
    assert r"x\_1 \& \textless{}b\textgreater{} & \textbf{2.00 $^\dagger$} \\" in text


@pytest.mark.parametrize("value, cell", [(None, ""), ("", ""), (0, "0.0"), (1.25, "1.2")])
def test_values_are_formatted_and_columns_without_any_left_out(value, cell):
    columns = {"name": ("Name", "{}"), "x": ("X", "{:.1f}"), "none": ("Never", "{}")}
    table = Table.of([{"name": "a", "x": value}, {"name": "b", "x": 3.0}], columns)
    assert table.head == ["Name", "X"] and [row[1] for row in table.rows] == [cell, "3.0"]
