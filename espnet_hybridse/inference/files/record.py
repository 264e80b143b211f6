"""The record of a folder's results: a JSON line a file, kept over runs, and as a table to read."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet_hybridse.fileio.lists import whole_lines
from espnet_hybridse.fileio.tables import Table

NAME = "record.jsonl"
COLUMNS = {
    "id": ("file", "{}"),
    "seconds": ("seconds", "{:.2f}"),
    "without_speech": ("without speech", "{:.2f}"),
    "gain_db": ("gain (dB)", "{:+.1f}"),
    "lufs": ("LUFS", "{:.1f}"),
    "share": ("share taken", "{:.2f}"),
    "snr_db": ("SNR (dB)", "{:.0f}"),
    "because": ("because of", "{}"),
    "clipped": ("clipped samples", "{:d}"),
    "remarks": ("remarks", "{}"),
}


def read_record(path: Path) -> dict[str, dict[str, Any]]:
    """id -> what became of a file last; lines that are no record are left out."""
    rows = {}
    for line in whole_lines(path):
        try:
            row = json.loads(line)
            rows[row["id"]] = row
        except (ValueError, TypeError, KeyError):
            continue
    return rows


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """The rows of :meth:`Result.as_dict`, one file a line."""
    return Table.of([_cells(row) for row in rows], COLUMNS)


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    gate = row.get("gate") or {}
    measures = gate.get("measures") or {}
    remarks = [row["reason"]] if "reason" in row else row.get("warnings", [])
    return {
        **row,
        "without_speech": row.get("seconds_without_speech"),
        "share": gate.get("share"),
        "because": gate.get("because", ""),
        "snr_db": measures.get("snr_db"),
        "clipped": row.get("clipped_samples"),
        "remarks": "; ".join(remarks),
    }
