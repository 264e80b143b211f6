"""Scores by distortion, SNR, sampling rate and language of the simulated test set."""

from collections.abc import Iterator, Mapping, Sequence

from espnet_hybridse.fileio.lists import ListError, PathLike
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.scoring.table import (
    Statistics,
    System,
    columns_of,
    read_systems,
    statistics,
    title,
)
from espnet_hybridse.simulation.meta import read_meta
from espnet_hybridse.simulation.set_lists import distortion_label

SNR_EDGES_DB = (0, 5, 10, 15)
ONE = "one distortion only"

Groups = dict[str, dict[str, set[str]]]
"""Kind ("Distortion", "SNR", …) -> group -> utterances, in the order of the table."""


def groups_of(systems: Sequence[System], meta: PathLike | None = None) -> Groups:
    """Groups of the systems' utterances; without a meta.tsv only those by rate.

    An utterance is in the group of each of its distortions.

    Raises:
        ListError: the meta.tsv is malformed, or of another set.
    """
    rates: dict[int, set[str]] = {}
    for uid, row in systems[0].rows.items():
        rates.setdefault(row["fs"], set()).add(uid)
    groups: Groups = {"Rate": {f"{fs / 1000:g} kHz": rates[fs] for fs in sorted(rates)}}
    if meta is None:
        return groups
    kinds: Groups = {"Distortion": {}, "SNR": {}, "Rate": groups["Rate"], "Language": {}}
    bins = {name: set() for name in snr_names()}
    for sample in read_meta(meta):
        names = [name.replace("_", " ") for name in distortion_label(sample).split("+")]
        for name in [*names, *([ONE] if len(names) == 1 else [])]:
            kinds["Distortion"].setdefault(name, set()).add(sample.id)
        bins[snr_names()[sum(sample.snr_dB >= edge for edge in SNR_EDGES_DB)]].add(sample.id)
        kinds["Language"].setdefault(sample.lang, set()).add(sample.id)
    kinds["SNR"] = bins
    for kind in ("Distortion", "Language"):
        kinds[kind] = dict(sorted(kinds[kind].items()))
    known = set(systems[0].rows)
    named = set().union(*kinds["Language"].values())
    if not named & known:
        raise ListError(
            f"{meta} names {min(named)}, … but {systems[0].name} was scored on {min(known)}, …: "
            "no utterance in common; pass the meta.tsv of the set that was scored"
        )
    return {
        kind: {name: uids & known for name, uids in table.items() if uids & known}
        for kind, table in kinds.items()
    }


def snr_names() -> list[str]:
    """Names of the SNR groups, from the noisiest."""
    edges = SNR_EDGES_DB
    middle = [f"{low} to {high} dB" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return [f"below {edges[0]} dB", *middle, f"{edges[-1]} dB and above"]


def breakdown(systems: Sequence[System], uids: set[str]) -> Statistics:
    """The statistics of one group."""
    return statistics([system.only(uids) for system in systems])


def breakdown_tables(
    out_dirs: Mapping[str, PathLike], meta: PathLike | None = None
) -> Iterator[tuple[str, Table]]:
    """Yield (kind, table): a row a group and system, a column a metric."""
    systems = read_systems(out_dirs)
    columns = columns_of(systems)
    for kind, table in groups_of(systems, meta).items():
        rows = []
        for name, uids in table.items():
            found = breakdown(systems, uids)
            for i, system in enumerate(found.systems):
                texts = [found.shown(c, system) if c in found.cells else "–" for c in columns]
                first = ["" if i else name, "" if i else str(len(uids))]
                rows.append([*first, system, *texts])
        yield kind, Table([kind, "utterances", "System", *map(title, columns)], rows)
