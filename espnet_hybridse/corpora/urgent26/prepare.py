"""Lists of one corpus at a time, then of all together in data/{train,valid,test}."""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from espnet_hybridse.corpora.generated import make_generated, make_rooms
from espnet_hybridse.corpora.recordings import NO_TEXT
from espnet_hybridse.corpora.split import SETS
from espnet_hybridse.corpora.urgent26.corpus import Corpus, Item
from espnet_hybridse.corpora.urgent26.corpus_table import BY_NAME
from espnet_hybridse.corpora.urgent26.splits import read_selection
from espnet_hybridse.corpora.urgent26.survey import survey
from espnet_hybridse.fileio.lists import ListError, Quarantine, write_json, write_list
from espnet_hybridse.simulation.rooms import FS

LABELS = ("text", "utt2lang", "utt2spk", "source_length.scp")
SELECTED_SETS = ("train", "valid")


@dataclass(frozen=True)
class Places:
    """data: where lists go; audio: where copies at other rates and generated noise go."""

    data: Path
    audio: Path

    def lists(self, name: str) -> Path:
        """Folder of one corpus's lists."""
        return self.data / "corpora" / name


def prepare_corpus(
    corpus: Corpus,
    root: Path,
    places: Places,
    selections: dict[str, Path | None],
    pool: Executor,
) -> str:
    """Make the lists of one corpus and return a summary line; nothing is done twice.

    Args:
        selections: list of the selected utterances of train and of valid, or None for all.

    Raises:
        ValueError: the corpus is not at `root`, or nothing of it can be used.
        ListError: a selection list cannot be read.
    """
    folder = places.lists(corpus.name)
    lists = {name: selections.get(name) if corpus.selected else None for name in SELECTED_SETS}
    options = {"root": str(root.resolve())} | {
        f"{name}_selection": str(path.resolve()) if path else None for name, path in lists.items()
    }
    done = folder / "done.json"
    if done.is_file():
        marker = json.loads(done.read_text(encoding="utf-8"))
        if marker["options"] == options:
            return f"{marker['summary']}; done already, delete {done} to do it again"
        done.unlink()
    corpus.check(root)
    quarantine = Quarantine(folder / "quarantine.tsv")
    items, left_out = _select(corpus.reader(root), lists, quarantine)
    if not items:
        raise ValueError(
            f"{corpus.variable}={root}: none of its files is in the selection list"
            if left_out
            else f"{corpus.variable}={root}: no file is named as expected.\n{corpus.how_to_get()}"
        )
    sets: dict[str, list] = {name: [] for name in SETS}
    findings = survey(corpus, items, folder, places.audio / corpus.name, pool)
    for item, finding in zip(items, findings, strict=True):
        if finding.fault:
            quarantine.add(item.uid, item.path, finding.fault)
        else:
            sets[item.part].append((item, finding))
    if not any(sets.values()):
        raise ValueError(f"{corpus.variable}={root}: no file is usable; see {quarantine.path}")
    for name, members in sets.items():
        _write_set(folder / name, corpus.kind, members)
    summary = f"{corpus.title}: {_count(corpus, sets)}"
    if left_out:
        summary += f", {left_out} not selected"
    summary += f", {quarantine.summary()}"
    write_json(done, {"options": options, "summary": summary})
    (folder / "findings.jsonl").unlink(missing_ok=True)
    return summary


def _select(items, lists: dict[str, Path | None], quarantine: Quarantine):
    """Items whose uid is on the list of their set, each uid once; and how many were left out."""
    wanted = {name: read_selection(path) for name, path in lists.items() if path}
    kept: dict[str, Item] = {}
    left_out = 0
    for item in items:
        if item.part in wanted and item.uid not in wanted[item.part]:
            left_out += 1
        elif item.uid in kept:
            first = kept[item.uid].path
            quarantine.add(item.uid, item.path, f"uid stands twice: {first} has it too")
        else:
            kept[item.uid] = item
    return list(kept.values()), left_out


def _write_set(folder: Path, kind: str, members: Sequence) -> None:
    """One corpus's lists of one set; of an empty one none stay."""
    tables = {f"{kind}.scp": {item.uid: f"{f.fs} {f.path}" for item, f in members}}
    if kind == "speech":
        tables["text"] = {item.uid: item.text for item, _ in members if item.text != NO_TEXT}
        tables["utt2lang"] = {item.uid: item.lang for item, _ in members}
        tables["utt2spk"] = {item.uid: item.speaker for item, _ in members}
        tables["source_length.scp"] = {item.uid: f.frames for item, f in members}
    _write_tables(folder, tables)


def _write_tables(folder: Path, tables: dict[str, dict]) -> None:
    for name, table in tables.items():
        if table:
            write_list(folder / name, table)
        else:
            (folder / name).unlink(missing_ok=True)


def _count(corpus: Corpus, sets: dict[str, list]) -> str:
    """Describe lists: files, hours and rates."""
    members = [finding for part in sets.values() for _, finding in part]
    hours = sum(finding.frames / finding.fs for finding in members) / 3600
    rates = Counter(finding.fs for finding in members)
    parts = ", ".join(f"{name} {len(part)}" for name, part in sets.items())
    listed = " ".join(f"{fs / 1000:g}k:{rates[fs]}" for fs in sorted(rates))
    return f"{len(members)} files ({parts}), {hours:.2f} h, rates {listed}"


def combine(
    places: Places,
    wanted: Sequence[str],
    num_wind: int,
    num_rirs: int,
    seed: int,
    pool: Executor,
) -> list[str]:
    """Join the corpora's lists into those of train, valid and test; one line a set.

    Where there is no corpus of wind or of rooms, `num_wind` noises and `num_rirs` responses are
    made. Lists of an earlier call that would now be empty are removed.

    Args:
        wanted: names of the corpora that have a folder in db.sh.

    Raises:
        ListError: one of them was not prepared, or a set would have no speech or no noise.
    """
    undone = [name for name in wanted if not (places.lists(name) / "done.json").is_file()]
    if undone:
        raise ListError(
            f"not prepared yet: {', '.join(undone)}; run local/data.sh without --stage, which "
            "prepares what is missing"
        )
    sets = {name: _joined([places.lists(corpus) / name for corpus in wanted]) for name in SETS}
    kinds = {BY_NAME[name].kind for name in wanted}
    _refuse_empty(sets, {"speech", "noise", *(kinds & {"wind", "rir"})}, wanted)
    if "wind" not in kinds:
        _add_wind(sets, places, num_wind, seed, pool)
    if "rir" not in kinds:
        _add_rooms(sets, places, num_rirs, seed, pool)
    _refuse_empty(sets, {"wind", "rir"}, wanted)
    for name, tables in sets.items():
        _write_tables(places.data / name, tables)
    quarantine = Quarantine(places.data / "quarantine.tsv")
    for corpus in wanted:
        quarantine.extend(Quarantine.read(places.lists(corpus) / "quarantine.tsv"))
    return [*(_summary(name, tables) for name, tables in sets.items()), quarantine.summary()]


def _refuse_empty(sets: dict, kinds: set[str], wanted: Sequence[str]) -> None:
    """Raise ListError for the first set that has nothing of one of these kinds."""
    corpora = f"none of {', '.join(wanted)} has any" if wanted else "db.sh names no corpus"
    for name, tables in sets.items():
        for kind in sorted(kinds):
            if not tables[f"{kind}.scp"]:
                raise ListError(f"no {kind} for {name}: {corpora}; set more of them in db.sh")


def _add_wind(sets: dict, places: Places, count: int, seed: int, pool: Executor) -> None:
    """Generated wind for each set, as most teams have it."""

    for name, made in make_generated("wind", count, places.audio, seed, pool).items():
        sets[name]["wind.scp"] = {uid: f"{fs} {path}" for uid, (fs, path) in made.items()}


def _add_rooms(sets: dict, places: Places, count: int, seed: int, pool: Executor) -> None:
    """Simulated rooms for each set."""

    for name, rooms in make_rooms(places.audio, count, seed, pool).items():
        sets[name]["rir.scp"] = {uid: f"{FS} {path.resolve()}" for uid, path in rooms.items()}


def _joined(folders: Sequence[Path]) -> dict[str, dict[str, str]]:
    """The lists of several folders in one; a uid that two corpora share is refused."""
    names = ("speech.scp", "noise.scp", "wind.scp", "rir.scp", *LABELS)
    tables: dict[str, dict[str, str]] = {name: {} for name in names}
    for folder in folders:
        for name in names:
            if not (folder / name).is_file():
                continue
            with open(folder / name, encoding="utf-8") as handle:
                for line in handle:
                    uid, _, value = line.rstrip("\n").partition(" ")
                    if uid in tables[name]:
                        raise ListError(f"{folder / name}: {uid!r} is in another corpus too")
                    tables[name][uid] = value
    return tables


def _summary(name: str, tables: dict[str, dict[str, str]]) -> str:
    languages = Counter(tables["utt2lang"].values())
    rates = [int(value.split(" ", 1)[0]) for value in tables["speech.scp"].values()]
    lengths = tables["source_length.scp"].values()
    hours = sum(int(n) / fs for n, fs in zip(lengths, rates, strict=True)) / 3600
    return (
        f"{name}: {len(rates)} utterances, {hours:.2f} h, "
        f"{len(set(tables['utt2spk'].values()))} speakers, languages "
        f"{' '.join(f'{lang}:{languages[lang]}' for lang in sorted(languages))}, "
        f"{len(tables['text'])} with text, {len(tables['noise.scp'])} noises, "
        f"{len(tables['wind.scp'])} of wind, {len(tables['rir.scp'])} room responses"
    )
