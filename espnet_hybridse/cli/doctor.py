"""`hybridse doctor`: versions, what works, what is missing and the line that installs it."""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from espnet_hybridse.cli.health import Finding, examine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--full",
        action="store_true",
        help="import what training and other encoders need as well, and register in ESPnet",
    )


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 when the core is broken, else 0, whatever optional part is missing."""
    # Third-party imports print to stdout, which belongs to the report.
    with contextlib.redirect_stdout(sys.stderr):
        findings = list(examine(args.full))
    broken = [item for item in findings if item.core and not item.ok]
    if args.json:
        report = {"core_ok": not broken, "findings": [asdict(item) for item in findings]}
        print(json.dumps(report, indent=2))
    else:
        print(as_text(findings))
    return 1 if broken else 0


def as_text(findings: Sequence[Finding]) -> str:
    """The report for people: one line per finding, the remedy below what is missing."""
    width = max(len(item.name) for item in findings)
    lines = []
    for section, items in groupby(findings, key=lambda item: item.section):
        lines.append(section)
        for item in items:
            state = "ok" if item.ok else "BROKEN" if item.core else "missing"
            lines.append(f"  {state:8}{item.name:{width}}  {item.detail}")
            if item.fix:
                lines.append(f"  {'':8}{'':{width}}  -> {item.fix}")
    broken = [item.name for item in findings if item.core and not item.ok]
    missing = sum(not item.ok and not item.core for item in findings)
    core = f"core broken: {', '.join(broken)}" if broken else "core works"
    lines.append(f"{core}; {missing} optional part(s) missing")
    return "\n".join(lines)
