"""Values by epoch in ESPnet's train.log."""

import re
from pathlib import Path
from typing import Dict, List, Optional, Tuple

EPOCH = re.compile(r"INFO: (\d+)epoch results: \[train\] (.*?), \[valid\] (.*)")
VALUE = re.compile(r"(\w+)=([-+\d.e]+)")

Values = Dict[str, float]
Curves = Dict[str, Dict[str, List[Tuple[int, float]]]]


def parse_epoch(line: str) -> Optional[Tuple[int, Values, Values]]:
    """(epoch, training values, validation values) of a line that closes an epoch, else None."""
    match = EPOCH.search(line)
    if match is None:
        return None
    train, valid = ({k: float(v) for k, v in VALUE.findall(text)} for text in match.groups()[1:])
    return int(match.group(1)), train, valid


def read_curves(log: Path) -> Curves:
    """{"train" | "valid": {name: [(epoch, value), …]}} of a whole log."""
    curves: Curves = {"train": {}, "valid": {}}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        parsed = parse_epoch(line)
        if parsed is None:
            continue
        for mode, values in zip(("train", "valid"), parsed[1:], strict=True):
            for name, value in values.items():
                curves[mode].setdefault(name, []).append((parsed[0], value))
    return curves
