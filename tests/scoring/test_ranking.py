"""The challenge's ranking, array jobs, breakdowns, worst utterances and the LaTeX table."""

import json

import numpy as np
import pytest
import soundfile

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.lists import ListError, write_list
from espnet_hybridse.scoring.breakdown import breakdown_tables
from espnet_hybridse.scoring.latex import latex_table
from espnet_hybridse.scoring.ranking import dense_rank, rank, rank_table
from espnet_hybridse.scoring.rows import compact, read_rows
from espnet_hybridse.scoring.table import read_systems, results_table, statistics


def scored(folder, values, fs=16000, failed=()):
    """A folder as `score` leaves it: column -> values of u0, u1, …."""
    folder.mkdir(parents=True)
    names = [f"u{i}" for i in range(len(next(iter(values.values()))))]
    rows = []
    for i, uid in enumerate(names):
        scores = {c: None if (uid, c) in failed else float(v[i]) for c, v in values.items()}
        row = {"uid": uid, "stamp": "s", "fs": fs, "seconds": 1.0, "scores": scores}
        rows.append({**row, "failed": {}, "weights": {}, "notes": {}, "cost_s": {}})
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"ref_scp": None, "inf_scp": "x.scp", "columns": {}, "unavailable": {}}
    (folder / "scoring.json").write_text(json.dumps(settings))
    return folder


def test_dense_ranks_are_those_of_the_rules_example():
    # The rule names its strategy by its example, "1223": ties share a place, none is skipped.
    assert dense_rank([0.9, 0.7, 0.7, 0.2], higher_is_better=True) == [1, 2, 2, 3]
    assert dense_rank([0.9, 0.7, 0.7, 0.2], higher_is_better=False) == [3, 2, 2, 1]
    assert dense_rank([0.1 + 0.2, 0.3], higher_is_better=True) == [1, 1]


def test_categories_count_alike_however_many_metrics_they_have():
    means = {
        "DNSMOS OVRL": {"A": 3.0, "B": 2.0, "C": 1.0},
        "NISQA": {"A": 3.0, "B": 2.0, "C": 2.0},
        "PESQ": {"A": 1.0, "B": 2.0, "C": 3.0},
        "SpkSim": {"A": 0.5, "B": 0.5, "C": 0.9},
    }
    categories, overall, places = rank(means)
    assert categories["non-intrusive"] == {"A": 1, "B": 2, "C": 2.5}
    assert categories["intrusive"] == {"A": 3, "B": 2, "C": 1}
    assert categories["task-dependent"] == {"A": 2, "B": 2, "C": 1}
    assert overall == pytest.approx({"A": 2, "B": 2, "C": 1.5})
    assert places == {"A": 2, "B": 2, "C": 1}


def test_rank_of_scored_folders(tmp_path, capsys):
    columns = ("PESQ", "ESTOI", "SI-SDR", "SpkSim(Resemblyzer)")
    for name, shift in (("A", 0.0), ("B", 0.1), ("C", 0.1)):
        scored(tmp_path / name, {c: np.array([0.3, 0.5]) + shift for c in columns})
    folders = {name: tmp_path / name for name in "ABC"}
    table, counted = rank_table(folders)
    assert [row[:2] for row in table.rows] == [["1", "B"], ["1", "C"], ["2", "A"]]
    assert "Counted: PESQ, ESTOI." in counted[0] and "NISQA" in counted[1]
    assert "SpkSim(Resemblyzer)" in rank_table(folders, stand_ins=True)[1][0]
    assert main(["score", "--rank", f"A={folders['A']}", str(folders["B"])]) == 0
    assert f"| 1 | {folders['B']} |" in capsys.readouterr().out
    assert main(["score", "--rank", str(folders["A"])]) == 2
    assert "two systems" in capsys.readouterr().err


def test_rows_of_array_jobs_merge_and_newer_ones_win(tmp_path):
    def line(uid, stamp, **scores):
        row = {"uid": uid, "stamp": stamp, "scores": scores, "failed": {}, "weights": {}}
        return json.dumps({**row, "notes": {}, "cost_s": {}}) + "\n"

    main_rows, shard = tmp_path / "scores.jsonl", tmp_path / "scores.1of2.jsonl"
    main_rows.write_text(line("a", "new", PESQ=2.0) + line("gone", "x", PESQ=1.0))
    shard.write_text(line("a", "old", PESQ=1.0) + line("b", "x", PESQ=3.0) + '{"uid": "torn')
    compact(main_rows, {"a", "b"}, [shard])
    rows = read_rows(main_rows)
    assert {uid: row["scores"]["PESQ"] for uid, row in rows.items()} == {"a": 2.0, "b": 3.0}
    assert len(main_rows.read_text().splitlines()) == 2


def test_breakdown_groups_by_distortion_snr_rate_and_language(rendered):
    from espnet_hybridse.simulation.meta import read_meta

    meta = rendered / "dump/raw/train/meta.tsv"
    samples = read_meta(meta)
    folder = rendered / "breakdown"
    scored(folder, {"PESQ": range(len(samples))})
    text = (folder / "scores.jsonl").read_text()
    for i, sample in enumerate(samples):  # with the set's own names and rates
        text = text.replace(f'"uid": "u{i}", "stamp": "s", "fs": 16000', f'"uid": "{sample.id}", '
                            f'"stamp": "s", "fs": {sample.fs}')  # fmt: skip
    (folder / "scores.jsonl").write_text(text)
    tables = dict(breakdown_tables({"Noisy": folder}, meta))
    assert list(tables) == ["Distortion", "SNR", "Rate", "Language"]
    counts = {kind: {row[0]: int(row[1]) for row in table.rows} for kind, table in tables.items()}
    assert counts["Language"] == {"en": len(samples)} and counts["Distortion"]["noise"] > 0
    for kind in ("SNR", "Rate"):
        assert sum(counts[kind].values()) == len(samples)
    at_16k = [i for i, sample in enumerate(samples) if sample.fs == 16000]
    row = next(row for row in tables["Rate"].rows if row[0] == "16 kHz")
    assert row[3].startswith(f"{np.mean(at_16k):.2f} ±")


def test_worst_utterances_are_listed_with_what_happened(tmp_path, capsys):
    scored(tmp_path / "noisy", {"PESQ": [2.0, 2.0, 2.0, 2.0]})
    scored(tmp_path / "ours", {"PESQ": [2.5, 1.0, 1.5, 2.0]}, failed={("u3", "PESQ")})
    table = ["--table", f"Noisy={tmp_path}/noisy", f"Ours={tmp_path}/ours", "--worst", "2"]
    assert main(["score", *table]) == 0
    out = capsys.readouterr().out
    assert "| u3 | 2.000 | failed | – |\n| u1 | 2.000 | 1.000 | -1.000 |\n" in out
    assert "| u2 |" not in out and "| u0 |" not in out
    assert main(["score", *table, "--results", str(tmp_path / "RESULTS.md")]) == 2
    assert (
        "x.scp: no such list" in (err := capsys.readouterr().err) and "'hybridse score' ran" in err
    )
    assert main(["score", "--table", f"Ours={tmp_path}/ours", "--worst", "2"]) == 2
    assert "put Noisy=DIR into --table" in capsys.readouterr().err


def test_file_with_two_channels_is_among_the_worst_and_is_shown(tmp_path, capsys):
    tone = np.sin(np.arange(16000) / 9) / 2
    for name, wav in (("mono", tone), ("stereo", np.stack([tone, tone], 1))):
        soundfile.write(tmp_path / f"{name}.wav", wav, 16000)
    rows = {"noisy": ("mono", "mono"), "ours": ("mono", "stereo")}
    for name, files in rows.items():
        scored(tmp_path / name, {"PESQ": [2.0, 2.0]})
        table = {f"u{i}": tmp_path / f"{file}.wav" for i, file in enumerate(files)}
        write_list(tmp_path / f"{name}.scp", table)
        settings = {"ref_scp": None, "inf_scp": f"{tmp_path}/{name}.scp"}
        (tmp_path / name / "scoring.json").write_text(json.dumps(settings))
    (tmp_path / "ours" / "quarantine.tsv").write_text("u1\tstereo.wav\t2 channels, expected 1\n")
    table = ["--table", f"Noisy={tmp_path}/noisy", f"A|B={tmp_path}/ours", "--worst", "2"]
    assert main(["score", *table, "--results", str(tmp_path / "R.md")]) == 0
    assert (tmp_path / "worst" / "A_B_u1.png").is_file()
    assert "| [u1](worst/A_B_u1.png) | 2.000 | failed | – |" in capsys.readouterr().out


def test_bar_in_a_name_does_not_break_tables(tmp_path):
    for name in ("noisy", "ours"):
        scored(tmp_path / name, {"PESQ": [2.0, 3.0]})
    folders = {"Noisy": tmp_path / "noisy", "A|B | |": tmp_path / "ours"}
    assert r"| A\|B \| \| | 2.50 ± 0.50 |" in results_table(folders).markdown()
    latex = latex_table(statistics(read_systems({"A|B^\\": tmp_path / "ours"})), "x")
    assert r"A\textbar{}B\textasciicircum{}\textbackslash{} & " in latex


def test_meta_of_another_set_is_refused(tmp_path, rendered):
    meta = rendered / "dump/raw/train/meta.tsv"
    with pytest.raises(ListError, match="no utterance in common; pass the meta.tsv of the set"):
        list(breakdown_tables({"A": scored(tmp_path / "a", {"PESQ": [1.0, 2.0]})}, meta))


def test_latex_table_marks_the_best_enhanced_row(tmp_path):
    scored(tmp_path / "noisy", {"PESQ": [3.0], "LSD": [1.0], "CAcc(Whisper-base)": [0.9]})
    scored(tmp_path / "a_b", {"PESQ": [2.0], "LSD": [5.0], "CAcc(Whisper-base)": [0.8]})
    scored(tmp_path / "c", {"PESQ": [2.5], "LSD": [6.0], "CAcc(Whisper-base)": [0.7]})
    systems = read_systems(
        {"Noisy": tmp_path / "noisy", "A_b": tmp_path / "a_b", "C": tmp_path / "c"}
    )
    text = latex_table(statistics(systems), "50 % & more.")
    assert r"\caption{50 \% \& more.}" in text and r"CAcc(Whisper-base) (\%) $\uparrow$" in text
    assert r"Noisy & 3.00 & 1.00 & 90.00 \\" in text
    assert r"A\_b & 2.00 & \textbf{5.00} & \textbf{80.00} \\" in text
    assert r"C & \textbf{2.50} & 6.00 & 70.00 \\" in text
