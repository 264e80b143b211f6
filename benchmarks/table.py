"""Rows of a benchmark as a Markdown table."""

from typing import Any, Mapping, Sequence, Tuple


def markdown(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Tuple[str, str]]) -> str:
    """Lines of a table; a column without any value is left out.

    Args:
        rows: key -> value; None or "" is an empty cell.
        columns: key -> (title, format); the first is aligned left, numbers right.
    """

    def cell(row: Mapping[str, Any], key: str) -> str:
        value = row.get(key)
        return "" if value in (None, "") else columns[key][1].format(value)

    used = [key for key in columns if any(cell(row, key) for row in rows)]
    text = [key for key in used if all(isinstance(row.get(key, ""), str) for row in rows)]
    lines = [
        [columns[key][0] for key in used],
        [":--" if key in text else "--:" for key in used],
        *([cell(row, key).replace("|", "/") for key in used] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
