"""From scored systems to `report.html`, `RESULTS.md`, `table.tex` and the main figures."""

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
from espnet_hybridse.report.page import Block, Section, write_page
from espnet_hybridse.report.utterances import anchor, show_utterance, signals
from espnet_hybridse.scoring.breakdown import breakdown_tables, groups_of
from espnet_hybridse.scoring.do_no_harm import (
    BASELINE,
    NONE,
    harm_table,
    main_column,
    worst,
    worst_table,
)
from espnet_hybridse.scoring.latex import latex_table
from espnet_hybridse.scoring.ranking import rank_table
from espnet_hybridse.scoring.results import notes, provenance, write_results
from espnet_hybridse.scoring.table import (
    MARK,
    System,
    columns_of,
    read_systems,
    results_table,
    settings,
    statistics,
)
from espnet_hybridse.simulation.meta import read_meta
from espnet_hybridse.simulation.set_lists import distortion_label

PAGE, MARKDOWN, LATEX = "report.html", "RESULTS.md", "table.tex"
LOSSES, SPECTROGRAMS = "losses.png", "spectrograms.png"
WORST = 10


@dataclass(frozen=True)
class EvaluationSet:
    """Systems that were scored on the same utterances.

    Args:
        scores: system -> folder that `hybridse score` wrote; the input is called Noisy.
        meta: meta.tsv of the simulated set, for breakdowns and the utterances' facts.
        name: of the set, where a report has several.
    """

    scores: Mapping[str, Path]
    meta: Path | None = None
    name: str = ""


@dataclass(frozen=True)
class Request:
    """What goes into a report.

    Args:
        out: folder to write.
        sets: test sets, each with the systems that were scored on it.
        losses: model -> experiment with a train.log.
        cores: that each training had, to draw its hours as core-hours.
        uids: utterances to show and hear; else `pictures` of them, evenly spread.
        facts: rows of the last section: config, seed, ….
        branches: of a hybrid.
    """

    out: Path
    sets: Sequence[EvaluationSet] = ()
    losses: Mapping[str, Path] = field(default_factory=dict)
    cores: int | None = None
    uids: Sequence[str] = ()
    pictures: int = 5
    facts: Mapping[str, str] = field(default_factory=dict)
    branches: Branches | None = None
    title: str = "Speech enhancement results"


@dataclass(frozen=True)
class Scored:
    """One test set, read."""

    given: EvaluationSet
    systems: list[System]
    number: int
    """From 0: the first set's sections have the plain names."""

    @property
    def columns(self) -> list[str]:
        return columns_of(self.systems)

    @property
    def compared(self) -> bool:
        """Whether there is something to compare with the unprocessed input."""
        return len(self.systems) > 1 and BASELINE in self.given.scores and bool(self.columns)

    def section(self, key: str, title: str, blocks: list[Block]) -> Section:
        """A section of this set, named after it."""
        key = f"{key}-{self.number + 1}" if self.number else key
        return Section(key, f"{title}{self.of}", blocks)

    @property
    def of(self) -> str:
        return f": {self.given.name}" if self.given.name else ""


def write_report(request: Request) -> list[Path]:
    """Write the page, the Markdown, a LaTeX table a set, and the main figures; returns the paths.

    Raises:
        FileNotFoundError: a folder holds no scores, or a training's folder no train.log.
        ValueError: nothing to report, or `uids` that no system was scored on.
        ListError: the meta.tsv or a list is malformed.
    """
    if not (request.sets or request.losses or request.branches):
        raise ValueError("nothing to report: pass --scores NAME=DIR …, --model or --losses")
    for name, folder in request.losses.items():
        if not (folder / "train.log").is_file():
            raise FileNotFoundError(
                f"--losses {name}={folder}: no train.log there; name the folder of a training"
            )
    sets = [Scored(one, read_systems(one.scores), i) for i, one in enumerate(request.sets)]
    for uid in request.uids:
        if sets and not any(uid in system.rows for one in sets for system in one.systems):
            known = ", ".join(sorted(sets[0].systems[0].rows)[:3])
            raise ValueError(f"--uids {uid}: no system was scored on it; they were on {known}, …")
    request.out.mkdir(parents=True, exist_ok=True)
    for name in (SPECTROGRAMS, LOSSES):
        (request.out / name).unlink(missing_ok=True)
    markdown: list[str] = []
    with TemporaryDirectory() as folder:
        sections = list(_sections(request, sets, markdown, Path(folder)))
    write_page(request.out / PAGE, request.title, _lead(sets), sections)
    write_results(request.out / MARKDOWN, markdown, request.facts)
    paths = [request.out / PAGE, request.out / MARKDOWN]
    for one in sets:
        best_from = 1 if one.systems[0].name == BASELINE else 0
        text = latex_table(statistics(one.systems), f"{request.title}{one.of}.", best_from)
        path = request.out / (f"table_{one.number + 1}.tex" if one.number else LATEX)
        with atomic_path(path) as tmp:
            tmp.write_text(text, encoding="utf-8")
        paths.append(path)
    figures = (request.out / name for name in (SPECTROGRAMS, LOSSES))
    return paths + [path for path in figures if path.is_file()]


def _lead(sets: Sequence[Scored]) -> str:
    if not sets:
        return "No system was scored; see below."
    said = []
    for one in sets:
        utterances = len({uid for system in one.systems for uid in system.rows})
        first = one.systems[0].rows.values()
        hours = sum(row["seconds"] for row in first) / 3600
        rates = ", ".join(f"{fs / 1000:g}" for fs in sorted({row["fs"] for row in first}))
        said.append(
            f"{one.given.name + ': ' if one.given.name else ''}{len(one.systems)} systems on "
            f"{utterances} utterances ({hours:.2f} h) at {rates} kHz."
        )
    return (
        f"{' '.join(said)} ± is half the width of the 95 % bootstrap interval of the mean over "
        f"utterances; arrows point to what is better; {MARK} marks what was in a system's loss."
    )


def _sections(
    request: Request, sets: Sequence[Scored], markdown: list[str], folder: Path
) -> Iterator[Section]:
    """The page's sections; what they say in tables is added to `markdown`."""
    harmed: dict[int, list[str]] = {one.number: [] for one in sets}
    for one in sets:
        if one.given.name:
            markdown.append(f"# {one.given.name}")
        yield _results(one, markdown)
        if one.compared:
            yield _harm(one, markdown, harmed[one.number])
        if one.columns:
            yield _breakdown(one, markdown, folder)
        if one.compared:
            figure = scatter_figure(one.systems, one.columns, folder)
            yield one.section("scatter", "Utterance by utterance", [Block(figure=figure)])
    if request.losses:
        figure = curves_figure(request.losses, request.out / LOSSES, request.cores)
        markdown.append(f"## Training\n\n![{figure.alt}]({LOSSES})")
        yield Section("training", "Training", [Block(figure=figure)])
    if request.branches:
        yield _branches(request.branches, markdown)
    for one in sets:
        yield _utterances(request, one, harmed[one.number], folder)
    for one in sets:
        text = notes(one.given.scores)
        markdown.append(f"## Notes{one.of}\n\n{text}")
        items = [row.removeprefix("- ") for row in text.splitlines() if row.startswith("- ")]
        yield one.section("notes", "Columns and failures", [Block(items=items)])
    facts = {**request.facts, **provenance()}
    for one in sets:
        for name, out_dir in one.given.scores.items():
            known = settings(out_dir)
            said = f"{known['inf_scp']}, reference {known['ref_scp']}"
            facts[f"{name} was scored on{one.of}"] = said
    items = [f"{name}: {value}" for name, value in facts.items()]
    yield Section("versions", "Versions and commands", [Block(items=items)])


def _results(one: Scored, markdown: list[str]) -> Section:
    """The means, and the ranking where there is something to rank."""
    table = results_table(one.given.scores)
    markdown.append(table.markdown())
    blocks = [Block(table=table)]
    try:
        ranking, counted = rank_table(one.given.scores, stand_ins=True)
        markdown.append("## Ranking\n\n" + "\n\n".join([ranking.markdown(), *counted]))
        title = "Ranking by the challenge's rule"
        blocks.append(Block(title, " ".join(counted), table=ranking))
    except ValueError:  # one system, or no column that counts
        pass
    return one.section("results", "Results", blocks)


def _breakdown(one: Scored, markdown: list[str], folder: Path) -> Section:
    """Figure and table by distortion, SNR, rate and language."""
    groups = groups_of(one.systems, one.given.meta)
    blocks = []
    for kind, table in breakdown_tables(one.given.scores, one.given.meta):
        by = f"By {kind if kind == 'SNR' else kind.lower()}"
        markdown.append(f"## {by}\n\n{table.markdown()}")
        figure = breakdown_figure(kind, groups, one.systems, one.columns, folder)
        blocks.append(Block(figure=figure))
        blocks.append(Block(f"{by}: table", table=table, closed=True))
    return one.section("breakdown", "Breakdown", blocks)


def _harm(one: Scored, markdown: list[str], listed: list[str]) -> Section:
    """The share of harmed utterances, and the ten most harmed of each system with links."""
    table = harm_table(one.given.scores)
    markdown.append("## Do no harm: utterances made worse\n\n" + table.markdown())
    said = "Share of the utterances that came out worse than they went in; in brackets the mean "
    blocks = [Block(text=said + "change of those.", table=table)]
    noisy = next(system for system in one.systems if system.name == BASELINE)
    column = main_column(one.columns)
    for system in one.systems:
        if system is noisy:
            continue
        harmed = worst(noisy, system, column, WORST)
        links = {change.uid: f"#{anchor(change.uid, one.number)}" for change in harmed}
        table, name = worst_table(harmed, links), f"{system.name}: what it harmed most in {column}"
        text = worst_table(harmed, {}).markdown() if harmed else NONE
        markdown.append(f"### {name}\n\n{text}")
        what = {"table": table} if harmed else {"text": NONE}
        # Folded away but for the last system, which is the one that a report is about.
        blocks.append(Block(name, closed=system is not one.systems[-1], **what))
        listed += [uid for uid in links if uid not in listed]
    return one.section("harm", "Do no harm", blocks)


def _branches(branches: Branches, markdown: list[str]) -> Section:
    """What the fusion mask does."""
    alt = "Spectrograms of noisy, both branches, hybrid, mask and clean speech, a column each"
    figure = Figure(data_uri(branches.figure), alt, "M = 1 takes the discriminative branch")
    markdown.append(
        f"## Mask\n\n![Spectrograms and mask]({branches.figure.name})\n\n{branches.text}\n\n"
        f"{branches.table.markdown()}"
    )
    blocks = [
        Block(figure=figure),
        Block("Mask by frequency", branches.text, table=branches.table),
    ]
    return Section("mask", "Branches and mask", blocks)


def _utterances(request: Request, one: Scored, harmed: Sequence[str], folder: Path) -> Section:
    """The chosen utterances with players, then those that the lists of harm link to.

    The first of them is drawn into the report's folder too.
    """
    facts = _facts(one.given.meta)
    every = sorted(set.union(*(set(system.rows) for system in one.systems)))
    wanted = [uid for uid in request.uids if uid in every]
    chosen = wanted or spread(every, request.pictures)
    files = signals(one.given.scores)
    blocks = []
    for uid in [*chosen, *(uid for uid in harmed if uid not in chosen)]:
        keep = None if blocks or one.number else request.out / SPECTROGRAMS
        shown = show_utterance(
            uid, files, one.systems, one.columns, facts.get(uid, ""), folder,
            listen=uid in chosen, number=one.number, keep=keep,
        )  # fmt: skip
        if shown is not None:
            blocks.append(Block(utterance=shown))
    if not blocks:
        text = (
            "None of the files can be read here; the lists' paths are relative to where "
            "'hybridse score' ran: make the report there."
        )
        logging.warning("no utterance to see and hear: %s", text)
        blocks.append(Block(text=text))
    return one.section("utterances", "Utterances to see and hear", blocks)


def _facts(meta: Path | None) -> dict[str, str]:
    """uid -> language, distortions and SNR in words."""
    if meta is None:
        return {}
    return {
        sample.id: f"{sample.lang}, {distortion_label(sample).replace('_', ' ')}, "
        f"SNR {sample.snr_dB:.1f} dB"
        for sample in read_meta(meta)
    }
