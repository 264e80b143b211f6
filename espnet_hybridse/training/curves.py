"""Values by epoch in ESPnet's train.log."""

import re
from pathlib import Path

EPOCH = re.compile(r"INFO: (\d+)epoch results: \[train\] (.*?), \[valid\] (.*)")
VALUE = re.compile(r"(\w+)=([-+\d.e]+)")
TIME = re.compile(r"(?<![a-z_])time=(.*?)(?:, \w+=|, ?$|$)")
PART = re.compile(r"([\d.]+) (day|hour|minute|second|millisecond)")
SECONDS = {"day": 86400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0, "millisecond": 1e-3}

Values = dict[str, float]
Curves = dict[str, dict[str, list[tuple[int, float]]]]


def parse_epoch(line: str) -> tuple[int, Values, Values] | None:
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


def read_hours(log: Path) -> dict[int, float]:
    """Epoch -> hours of training up to its end, without those of validation.

    An epoch whose time the log does not say counts as 0. One that was trained twice, as after a
    kill, counts once: what the kill took away is in no curve either.
    """
    took: dict[int, float] = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        match = EPOCH.search(line)
        if match is None:
            continue
        said = TIME.search(match.group(2))
        parts = PART.findall(said.group(1)) if said else []
        took[int(match.group(1))] = sum(float(n) * SECONDS[unit] for n, unit in parts) / 3600
    hours, total = {}, 0.0
    for epoch in sorted(took):
        total += took[epoch]
        hours[epoch] = total
    return hours
