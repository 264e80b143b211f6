"""RESULTS.md: the tables, what stands behind each number, and how to get it again."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from espnet_hybridse.fileio.lists import PathLike, atomic_path
from espnet_hybridse.runtime.version import __version__
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.table import MARK, System, columns_of, read_systems


def write_results(path: PathLike, tables: Sequence[str], facts: Mapping[str, object]) -> None:
    """Write `tables` (Markdown), then `facts` and the versions and machine found here."""
    lines = ["# Results", ""]
    for table in tables:
        lines += [table, ""]
    lines += ["## How these numbers were made", ""]
    lines += [f"- {name}: {value}" for name, value in {**facts, **provenance()}.items()]
    with atomic_path(path) as tmp:
        tmp.write_text("\n".join(lines) + "\n", encoding="utf-8")


def notes(out_dirs: Mapping[str, PathLike]) -> str:
    """A Markdown list: what each column is, which are absent and why, what could not be scored."""
    systems = read_systems(out_dirs)
    shown = columns_of(systems)
    lines = ["± is half the width of the 95 % bootstrap interval of the mean over utterances.", ""]
    lines += [f"- {name}: {METRICS[name].source}, {METRICS[name].rate}" for name in shown]
    for system in systems:
        if trained := [name for name in METRICS if name in system.in_loss]:
            lines.append(
                f"- {MARK} {system.name}: {', '.join(trained)} was in its training's loss and is "
                "no judge of it"
            )
    absent = _absent(out_dirs, systems, shown)
    lines += [f"- no column {name}: {why}" for name, why in absent.items()]
    for system in systems:
        if system.quarantined:
            reasons = "; ".join(f"{u}: {why}" for u, why in sorted(system.quarantined.items())[:3])
            lines.append(f"- {system.name}: {len(system.quarantined)} quarantined ({reasons} …)")
        for name in shown:
            failed = [row["failed"][name] for row in system.rows.values() if name in row["failed"]]
            if failed:
                lines.append(f"- {system.name}: {name} failed on {len(failed)} (e.g. {failed[0]})")
    return "\n".join(lines)


def _absent(
    out_dirs: Mapping[str, PathLike], systems: Sequence[System], shown: Sequence[str]
) -> dict[str, str]:
    """Column -> why it is not in the table, of every column that was asked for somewhere."""
    reasons: dict[str, str] = {}
    for system, out_dir in zip(systems, out_dirs.values(), strict=True):
        path = Path(out_dir) / "scoring.json"
        asked = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        reasons.update(asked.get("unavailable", {}))
        for name in asked.get("columns", {}):
            failed = [row["failed"][name] for row in system.rows.values() if name in row["failed"]]
            why = f"not every system has it (asked for in {system.name})"
            if failed and not system.values(name):
                why = f"{system.name}: failed on all {len(failed)} ({failed[0]})"
            reasons.setdefault(name, why)
    return {name: why for name, why in reasons.items() if name not in shown}


def provenance() -> dict[str, str]:
    """Versions of what decides the numbers, the commit, and the machine."""
    facts = {f"espnet_hybridse {__version__}": git_commit()}
    facts["Python"] = platform.python_version()
    packages = ("espnet", "torch", "numpy", "pesq", "pystoi", "onnxruntime", "faster-whisper")
    facts["packages"] = ", ".join(f"{name} {_version(name)}" for name in packages)
    facts["machine"] = f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()}"
    return facts


def git_commit() -> str:
    """The checkout's commit, `-dirty` when it has changes; says so when there is no checkout."""
    root = Path(__file__).resolve().parents[2]
    # A package installed below somebody else's checkout must not borrow that commit.
    if not (root / ".git").exists():
        return "not a git checkout"
    command: list[str] = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    # Looking for changes must not take the lock that a commit in progress needs.
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, cwd=root, env=env, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "git commit unknown"
    return f"commit {done.stdout.strip()}"


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(absent)"
