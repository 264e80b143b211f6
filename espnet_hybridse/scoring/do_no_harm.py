"""Do no harm: which utterances a system made worse than they were, and by how much."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.audio import BadAudio
from espnet_hybridse.fileio.lists import PathLike
from espnet_hybridse.fileio.pictures import plot_utterance
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.scoring.inputs import scored_audio
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.table import MARK, System, columns_of, read_systems, settings

BASELINE = "Noisy"
PREFERRED = "PESQ"
NONE = "None was made worse."


@dataclass(frozen=True)
class Change:
    """What a system did to one utterance in one column; `after` is None where it failed."""

    uid: str
    before: float
    after: float | None
    gain: float
    """Above 0 is better, whatever the column's direction."""


def baseline_of(systems: Sequence[System], baseline: str) -> System:
    """The unprocessed input among `systems`; raises ValueError when it is not there."""
    for system in systems:
        if system.name == baseline:
            return system
    raise ValueError(
        f"no system is called {baseline!r} (there are: {', '.join(s.name for s in systems)}); "
        f"score the unprocessed input too and pass {baseline}=DIR"
    )


def changes(noisy: System, system: System, column: str) -> list[Change]:
    """Every utterance that the input has a value for, the most harmed first.

    An utterance that the system failed on counts as worse, without an amount.
    """
    before, after = noisy.values(column), system.values(column)
    sign = 1 if METRICS[column].higher_is_better else -1
    found = []
    for uid in sorted(before.keys() & system.tried(column)):
        value = after.get(uid)
        gain = -np.inf if value is None else sign * (value - before[uid])
        found.append(Change(uid, before[uid], value, float(gain)))
    return sorted(found, key=lambda change: change.gain)


def harm_table(out_dirs: Mapping[str, PathLike], baseline: str = BASELINE) -> Table:
    """Share of utterances that each system made worse than `baseline`, per metric, and by how much.

    In brackets stands the mean change of those that were made worse. An utterance that the
    baseline has a value for and the system failed on counts as worse, without an amount.

    Raises:
        ValueError: no system is called `baseline`.
    """
    systems = read_systems(out_dirs)
    noisy = baseline_of(systems, baseline)
    columns = columns_of(systems)
    rows = []
    for system in systems:
        if system is noisy:
            continue
        shares = []
        for column in columns:
            every = changes(noisy, system, column)
            worse = [change for change in every if change.gain < 0]
            amounts = [change.after - change.before for change in worse if change.after is not None]
            amount = f" ({np.mean(amounts):+.2f})" if amounts else ""
            mark = f" {MARK}" if column in system.in_loss else ""
            share = f"{100 * len(worse) / len(every):.1f} %{amount}{mark}" if every else "–"
            shares.append(share)
        rows.append([system.name, *shares])
    return Table(["Worse than " + baseline, *columns], rows)


def main_column(columns: Sequence[str]) -> str:
    """The column that stands for quality where one must: PESQ, else the first."""
    return PREFERRED if PREFERRED in columns else columns[0]


def worst(noisy: System, system: System, column: str, count: int) -> list[Change]:
    """At most `count` utterances that were made worse, the most harmed first."""
    return [change for change in changes(noisy, system, column) if change.gain < 0][:count]


def worst_table(harmed: Sequence[Change], links: Mapping[str, str]) -> Table:
    """Harmed utterances, one a row.

    Args:
        links: uid -> where its spectrograms are.
    """
    rows = []
    for change in harmed:
        if change.after is None:
            after = ["failed", "–"]
        else:
            after = [f"{change.after:.3f}", f"{change.after - change.before:+.3f}"]
        rows.append([change.uid, f"{change.before:.3f}", *after])
    return Table(["Utterance", "before", "after", "change"], rows, links)


def worst_tables(
    out_dirs: Mapping[str, PathLike], count: int, pictures: Path | None, baseline: str = BASELINE
) -> list[str]:
    """A Markdown section for each system: what it harmed most in the main column.

    Args:
        pictures: folder for the spectrograms of those utterances, beside the file that will hold
            the tables; None draws none.
    """
    systems = read_systems(out_dirs)
    noisy = baseline_of(systems, baseline)
    column = main_column(columns_of(systems))
    sections = []
    for system in systems:
        if system is noisy:
            continue
        harmed = worst(noisy, system, column, count)
        uids = [change.uid for change in harmed]
        links = draw(out_dirs, system.name, baseline, uids, pictures) if pictures else {}
        title = f"### {system.name}: what it harmed most in {column}"
        table = worst_table(harmed, links).markdown() if harmed else NONE
        sections.append(f"{title}\n\n{table}")
    return sections


def draw(
    out_dirs: Mapping[str, PathLike], system: str, baseline: str, uids: list[str], folder: Path
) -> dict[str, str]:
    """Spectrograms of `uids`: input, output and clean; uid -> path as seen from above `folder`."""
    tables, links = {}, {}
    for name in (baseline, system):
        tables[name], clean = scored_audio(settings(out_dirs[name]))
    if clean:
        tables["Clean"] = clean
    for uid in uids:
        shown = {name: table[uid] for name, table in tables.items() if uid in table}
        # No blank or bracket: Markdown would end the link there.
        file = folder / (re.sub(r"[^\w.-]+", "_", f"{system.strip('.')}_{uid}") + ".png")
        try:
            plot_utterance(shown, uid, file)
        # One that could not be enhanced is listed too.
        except (OSError, RuntimeError, BadAudio) as error:
            logging.warning("no spectrogram of %s: %s", uid, error)
            continue
        links[uid] = f"{folder.name}/{file.name}"
    return links
