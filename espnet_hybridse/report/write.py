"""From scored systems to `report.html`, `RESULTS.md` and `table.tex`."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.report.figures import (
    Figure,
    breakdown_figure,
    curves_figure,
    data_uri,
    scatter_figure,
)
from espnet_hybridse.report.hybrid import Branches, spread
from espnet_hybridse.report.page import Block, Section, Table, write_page
from espnet_hybridse.report.utterances import anchor, show_utterance, signals
from espnet_hybridse.scoring.breakdown import breakdown_tables, groups_of
from espnet_hybridse.scoring.do_no_harm import (
    BASELINE,
    harm_table,
    main_column,
    settings,
    worst,
    worst_table,
)
from espnet_hybridse.scoring.latex import latex_table
from espnet_hybridse.scoring.ranking import rank_table
from espnet_hybridse.scoring.results import notes, provenance, write_results
from espnet_hybridse.scoring.table import (
    System,
    columns_of,
    read_systems,
    results_table,
    statistics,
)

PAGE, MARKDOWN, LATEX = "report.html", "RESULTS.md", "table.tex"
SPECTROGRAMS = "spectrograms.png"
WORST = 10


@dataclass(frozen=True)
class Request:
    """What goes into a report.

    Args:
        out: folder to write.
        scores: system -> folder that `hybridse score` wrote; the input is called Noisy.
        meta: meta.tsv of the simulated set, for breakdowns and the utterances' facts.
        losses: model -> experiment with a train.log.
        uids: utterances to show and hear; else `pictures` of them, evenly spread.
        facts: rows of the last section: config, seed, ….
        branches: of a hybrid.
    """

    out: Path
    scores: Mapping[str, Path] = field(default_factory=dict)
    meta: Path | None = None
    losses: Mapping[str, Path] = field(default_factory=dict)
    uids: Sequence[str] = ()
    pictures: int = 5
    facts: Mapping[str, str] = field(default_factory=dict)
    branches: Branches | None = None
    title: str = "Speech enhancement results"


def write_report(request: Request) -> list[Path]:
    """Write the page, the Markdown and, with scores, the LaTeX table; returns their paths.

    The loss curves and the first utterance that is shown are kept as PNG files beside them.

    Raises:
        FileNotFoundError: a folder holds no scores, or a training's folder no train.log.
        ValueError: nothing to report, or `uids` that no system was scored on.
        ListError: the meta.tsv or a list is malformed.
    """
    if not (request.scores or request.losses or request.branches):
        raise ValueError("nothing to report: pass --scores NAME=DIR …, --model or --losses")
    for name, folder in request.losses.items():
        if not (folder / "train.log").is_file():
            raise FileNotFoundError(
                f"--losses {name}={folder}: no train.log there; name the folder of a training"
            )
    systems = read_systems(request.scores) if request.scores else []
    for uid in request.uids:
        if systems and not any(uid in system.rows for system in systems):
            known = ", ".join(sorted(systems[0].rows)[:3])
            raise ValueError(f"--uids {uid}: no system was scored on it; they were on {known}, …")
    markdown: list[str] = []
    with TemporaryDirectory() as folder:
        sections = list(_sections(request, systems, markdown, Path(folder)))
    lead = _lead(systems)
    write_page(request.out / PAGE, request.title, lead, sections)
    write_results(request.out / MARKDOWN, markdown, request.facts)
    paths = [request.out / PAGE, request.out / MARKDOWN]
    if systems:
        best_from = 1 if systems[0].name == BASELINE else 0
        text = latex_table(statistics(systems), request.title + ".", best_from)
        with atomic_path(request.out / LATEX) as tmp:
            tmp.write_text(text, encoding="utf-8")
        paths.append(request.out / LATEX)
    return paths


def _lead(systems: Sequence[System]) -> str:
    if not systems:
        return "No system was scored; see below."
    utterances = len({uid for system in systems for uid in system.rows})
    hours = sum(row["seconds"] for row in systems[0].rows.values()) / 3600
    rates = sorted({row["fs"] for row in systems[0].rows.values()})
    return (
        f"{len(systems)} systems on {utterances} utterances ({hours:.2f} h) at "
        f"{', '.join(f'{fs / 1000:g}' for fs in rates)} kHz. ± is half the width of the 95 % "
        "bootstrap interval of the mean over utterances; arrows point to what is better."
    )


def _sections(
    request: Request, systems: list[System], markdown: list[str], folder: Path
) -> Iterator[Section]:
    """The page's sections; what they say in tables is added to `markdown`."""
    columns = columns_of(systems) if systems else []
    compared = len(systems) > 1 and BASELINE in request.scores and columns
    if systems:
        text = results_table(request.scores)
        markdown.append(text)
        blocks = [Block(table=Table.of(text))]
        try:
            ranking, *counted = rank_table(request.scores, stand_ins=True).split("\n\n")
            markdown.append(f"## Ranking\n\n{ranking}\n\n" + "\n\n".join(counted))
            said = " ".join(counted).replace("\n", " ")
            blocks.append(Block("Ranking by the challenge's rule", said, table=Table.of(ranking)))
        except ValueError:  # one system, or no column that counts
            pass
        yield Section("results", "Results", blocks)
    harmed: list[str] = []
    if compared:
        yield _harm(request, systems, columns, markdown, harmed)
    if systems and columns:
        groups = groups_of(systems, request.meta)
        blocks = []
        for kind, text in breakdown_tables(request.scores, request.meta):
            by = f"By {kind if kind == 'SNR' else kind.lower()}"
            markdown.append(f"## {by}\n\n{text}")
            blocks.append(Block(figure=breakdown_figure(kind, groups, systems, columns, folder)))
            blocks.append(Block(f"{by}: table", table=Table.of(text), closed=True))
        yield Section("breakdown", "Breakdown", blocks)
    if compared:
        figure = scatter_figure(systems, columns, folder)
        yield Section("scatter", "Utterance by utterance", [Block(figure=figure)])
    if request.losses:
        figure = curves_figure(request.losses, request.out)
        yield Section("training", "Training", [Block(figure=figure)])
    if request.branches:
        yield _branches(request.branches, markdown)
    if systems:
        yield _utterances(request, systems, columns, harmed, folder)
        text = notes(request.scores)
        markdown.append("## Notes\n\n" + text)
        items = [row.removeprefix("- ") for row in text.splitlines() if row.startswith("- ")]
        yield Section("notes", "Columns and failures", [Block(items=items)])
    facts = {**request.facts, **provenance()}
    for name, out_dir in request.scores.items():
        known = settings(out_dir)
        facts[f"{name} was scored on"] = f"{known['inf_scp']}, reference {known['ref_scp']}"
    items = [f"{name}: {value}" for name, value in facts.items()]
    yield Section("versions", "Versions and commands", [Block(items=items)])


def _harm(request, systems, columns, markdown, listed) -> Section:
    """The share of harmed utterances, and the ten most harmed of each system with links."""
    text = harm_table(request.scores)
    markdown.append("## Do no harm: utterances made worse\n\n" + text)
    blocks = [
        Block(
            text="Share of the utterances that came out worse than they went in; in brackets the "
            "mean change of those.",
            table=Table.of(text),
        )
    ]
    noisy, column = next(s for s in systems if s.name == BASELINE), main_column(columns)
    for system in systems:
        if system is noisy:
            continue
        harmed = worst(noisy, system, column, WORST)
        text, name = worst_table(harmed, {}), f"{system.name}: what it harmed most in {column}"
        markdown.append(f"### {name}\n\n{text}")
        links = {change.uid: anchor(change.uid) for change in harmed}
        what = {"table": Table.of(text, links)} if harmed else {"text": text}
        # Folded away but for the last system, which is the one that a report is about.
        blocks.append(Block(name, closed=system is not systems[-1], **what))
        listed += [uid for uid in links if uid not in listed]
    return Section("harm", "Do no harm", blocks)


def _branches(branches: Branches, markdown: list[str]) -> Section:
    """What the fusion mask does."""
    alt = "Spectrograms of noisy, both branches, hybrid, mask and clean speech, a column each"
    figure = Figure(data_uri(branches.figure), alt, "M = 1 takes the discriminative branch")
    markdown.append(
        f"## Mask\n\n![Spectrograms and mask]({branches.figure.name})\n\n{branches.text}\n\n"
        f"{branches.table}"
    )
    blocks = [
        Block(figure=figure),
        Block("Mask by frequency", branches.text, table=Table.of(branches.table)),
    ]
    return Section("mask", "Branches and mask", blocks)


def _utterances(request, systems, columns, harmed, folder) -> Section:
    """The chosen utterances with players, then those that the lists of harm link to."""
    facts = _facts(request.meta)
    every = sorted(set.union(*(set(system.rows) for system in systems)))
    chosen = list(request.uids) or spread(every, request.pictures)
    files = signals(request.scores)
    blocks = []
    for uid in [*chosen, *(uid for uid in harmed if uid not in chosen)]:
        listen = uid in chosen
        kept = None if blocks else request.out / SPECTROGRAMS
        shown = show_utterance(
            uid, files, systems, columns, facts.get(uid, ""), folder, listen=listen, kept=kept
        )
        if shown is not None:
            blocks.append(Block(utterance=shown))
    if not blocks:
        text = (
            "None of the files can be read here; the lists' paths are relative to where "
            "'hybridse score' ran: make the report there."
        )
        logging.warning("no utterance to see and hear: %s", text)
        blocks.append(Block(text=text))
    return Section("utterances", "Utterances to see and hear", blocks)


def _facts(meta: Path | None) -> dict[str, str]:
    """uid -> language, distortions and SNR in words."""
    if meta is None:
        return {}
    from espnet_hybridse.simulation.meta import read_meta
    from espnet_hybridse.simulation.set_lists import distortion_label

    return {
        sample.id: f"{sample.lang}, {distortion_label(sample).replace('_', ' ')}, "
        f"SNR {sample.snr_dB:.1f} dB"
        for sample in read_meta(meta)
    }
