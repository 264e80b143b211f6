"""Totals of a training by epoch, in a JSON file that a kill cannot put ahead of the weights."""

import json
from pathlib import Path
from typing import Any, Dict

from espnet_hybridse.fileio.lists import write_json


class EpochRecord:
    """`{"epochs": {"1": {...}, ...}}`: what had been summed up at the end of each epoch.

    An epoch's entry is written before its checkpoint. Training resumes at the epoch of the last
    checkpoint, asks for the entry before that one and overwrites what a kill left behind.

    Args:
        path: JSON file; made by the first `write`.
    """

    def __init__(self, path: Path):
        self.path = path

    def _read(self) -> Dict[int, Dict[str, Any]]:
        if not self.path.is_file():
            return {}
        return {int(k): v for k, v in json.loads(self.path.read_text())["epochs"].items()}

    def before(self, epoch: int) -> Dict[str, Any]:
        """The entry of the last epoch before this one, {} where there is none."""
        earlier = {number: entry for number, entry in self._read().items() if number < epoch}
        return earlier[max(earlier)] if earlier else {}

    def write(self, epoch: int, entry: Dict[str, Any]) -> None:
        """Set an epoch's entry and forget those after it."""
        kept = {number: value for number, value in self._read().items() if number < epoch}
        write_json(self.path, {"epochs": {**kept, epoch: entry}})
