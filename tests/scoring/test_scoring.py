"""Scoring: numbers of record, resumption, quarantine, and the two tables."""

import json
import subprocess
import sys

import numpy as np
import pytest

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.audio import write_audio
from espnet_hybridse.fileio.lists import ListError, write_list
from espnet_hybridse.scoring.breakdown import breakdown_tables
from espnet_hybridse.scoring.do_no_harm import harm_table
from espnet_hybridse.scoring.engine import score
from espnet_hybridse.scoring.latex import latex_table
from espnet_hybridse.scoring.metrics.character_accuracy import normalise, whisper_language
from espnet_hybridse.scoring.metrics.language_codes import three_letters
from espnet_hybridse.scoring.metrics.metric import CATEGORIES, Context, MetricFailed
from espnet_hybridse.scoring.metrics.pesq import bursts, pieces
from espnet_hybridse.scoring.metrics.registry import METRICS, select
from espnet_hybridse.scoring.results import notes, write_results
from espnet_hybridse.scoring.rows import read_quarantine, read_rows
from espnet_hybridse.scoring.table import (
    mean_and_interval,
    read_systems,
    results_table,
    statistics,
)

LIGHT = ["SI-SDR", "LSD"]
"""Metrics that need no optional package."""


def speechlike(fs, seconds=3.0, pitch=120.0):
    """(T,) harmonics of a gliding pitch in syllables with pauses: what PESQ takes for speech."""
    t = np.arange(int(seconds * fs)) / fs
    phase = 2 * np.pi * (pitch * t + 15 * np.sin(2 * np.pi * 0.7 * t))
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1) * (np.sin(2 * np.pi * 0.5 * t) > -0.7)
    return (0.1 * voice * syllables).astype(np.float32)


def mixed(ref, snr_db, seed=0):
    """`ref` plus noise orthogonal to it: its SI-SDR is `snr_db` exactly."""
    ref = ref - ref.mean()
    noise = np.random.RandomState(seed).standard_normal(ref.size)  # a stream frozen by NumPy
    noise -= noise.mean()
    noise -= (noise @ ref) / (ref @ ref) * ref
    noise *= np.sqrt((ref @ ref) / (noise @ noise)) * 10 ** (-snr_db / 20)
    return (ref + noise).astype(np.float32)


def usable(name):
    reason = METRICS[name].available()
    if reason:
        pytest.skip(reason)
    return METRICS[name]


@pytest.fixture
def sets(tmp_path):
    """Three utterances at three rates: clean, noisy (0 dB) and better (10 dB) lists."""
    lists = {"ref": {}, "noisy": {}, "better": {}}
    for i, fs in enumerate((8000, 16000, 48000)):
        ref = speechlike(fs, 1.0 + i / 2)
        for name, wav in (("ref", ref), ("noisy", mixed(ref, 0, i)), ("better", mixed(ref, 10, i))):
            path = tmp_path / name / f"u{i}.wav"
            write_audio(path, wav, fs, subtype="FLOAT")
            lists[name][f"u{i}"] = path
    for name, table in lists.items():
        write_list(tmp_path / f"{name}.scp", table)
    return tmp_path


def run(sets, system, metrics=LIGHT, nj=0):
    return score(sets / "ref.scp", sets / f"{system}.scp", sets / f"out_{system}", metrics, nj=nj)


# Golden values: pesq 0.0.4 and pystoi 0.4.1 called by themselves as the challenge's script calls
# them (nb at 8 kHz, wb at 16 kHz after soxr at its default quality, NumPy seed 0 before pystoi).
@pytest.mark.parametrize(
    "fs, pesq, estoi, pesq_top",
    [
        (8000, 1.76347, 0.913352, 4.54864),
        (16000, 1.15281, 0.907652, 4.64389),
        (44100, 1.33874, 0.932819, 4.64389),
    ],
)
def test_pesq_and_estoi_are_those_of_the_challenge(fs, pesq, estoi, pesq_top):
    ref = speechlike(fs)
    inf = mixed(ref, 25)
    compute = usable("PESQ").compute
    assert compute(inf, ref, fs, Context("u")) == pytest.approx(pesq, abs=1e-3)
    assert compute(ref, ref, fs, Context("u")) == pytest.approx(pesq_top, abs=1e-3)
    compute = usable("ESTOI").compute
    assert compute(inf, ref, fs, Context("u")) == pytest.approx(estoi, abs=1e-4)
    assert compute(ref, ref, fs, Context("u")) == pytest.approx(1.0, abs=1e-6)


def test_estoi_leaves_the_global_generator_alone():
    ref = speechlike(16000)
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    usable("ESTOI").compute(mixed(ref, 0), ref, 16000, Context("u"))
    assert np.random.rand() == expected


@pytest.mark.parametrize("snr_db", [-5, 0, 17.5])
@pytest.mark.parametrize("gain", [1.0, -0.3])
def test_si_sdr_of_a_known_mix_is_its_snr(snr_db, gain):
    ref = speechlike(16000)
    value = METRICS["SI-SDR"].compute(gain * mixed(ref, snr_db), ref, 16000, Context("u"))
    assert value == pytest.approx(snr_db, abs=1e-3)


def test_si_sdr_of_equal_files_is_bounded():
    ref = speechlike(16000)
    assert METRICS["SI-SDR"].compute(ref, ref, 16000, Context("u")) == 50.0


@pytest.mark.parametrize("fs", [8000, 22050, 48000])
def test_lsd_is_that_of_librosa(fs):
    librosa = pytest.importorskip("librosa", reason="the challenge's LSD uses librosa's STFT")
    ref = mixed(speechlike(fs), 60).astype(np.float64)
    inf = mixed(ref, 5).astype(np.float64)
    sizes = {"n_fft": int(0.032 * fs), "hop_length": int(0.016 * fs)}
    scaled = inf * (ref @ inf) / (inf @ inf)
    power = [np.abs(librosa.stft(wav, **sizes)) for wav in (ref, scaled)]
    squares = np.log(power[0] ** 2 / (power[1] + 1e-8) ** 2 + 1e-8) ** 2
    expected = np.sqrt(squares.mean(axis=0)).mean()
    assert METRICS["LSD"].compute(inf, ref, fs, Context("u")) == pytest.approx(expected, rel=1e-5)
    assert METRICS["LSD"].compute(0.5 * ref, ref, fs, Context("u")) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3.0, 17.5])
def test_dnsmos_is_that_of_speechmos(seconds):
    metric = usable("DNSMOS OVRL")
    upstream = pytest.importorskip("speechmos.dnsmos", reason="speechmos imports librosa, requests")
    wav = mixed(speechlike(16000, seconds), 10)
    expected = upstream.run(wav, 16000)
    context = Context("u")
    for scale in ("OVRL", "SIG", "BAK"):
        value = METRICS[f"DNSMOS {scale}"].compute(wav, None, 16000, context)
        assert value == pytest.approx(expected[f"{scale.lower()}_mos"], abs=1e-5)
    assert metric.range[0] <= value <= metric.range[1]


def test_speaker_similarity_tells_a_noisy_copy_from_a_clean_one():
    metric = usable("SpkSim(Resemblyzer)")
    ref = speechlike(16000)
    values = [metric.compute(w, ref, 16000, Context("u")) for w in (ref, mixed(ref, 0))]
    assert values[0] == pytest.approx(1.0, abs=1e-5)
    assert values[1] < 0.95


def test_text_is_normalised_as_whisper_does():
    assert normalise("  L'Élan, n° 5 [rires] (bas)!  ") == "l élan n 5"
    assert normalise("ＡＢＣ。你好，") == "abc 你好"
    # The challenge cleans with "whisper_basic"; transformers has the same normaliser.
    whisper = pytest.importorskip("transformers.models.whisper.english_normalizer")
    texts = [
        "Über 3,5 % — «süß»!",
        "¿Qué tal? (risas)",
        "L'été, n° 5 ½",
        "今天 [笑] 天气：不错。",
        "Ёж & ёлка",
        "don't—stop <noise> it's 10:30",
        "naïve\tcafé  №1",
    ]
    for text in texts:
        assert normalise(text) == whisper.BasicTextNormalizer()(text).strip()


def test_language_codes_of_all_corpora_are_understood():
    known = ["en", "zh"]
    assert [whisper_language(c, known) for c in ("en", "<eng>", "en-US", "cmn")] == [
        "en", "en", "en", "zh",
    ]  # fmt: skip
    named = {"no": "nob", "nb": "nob", "nn": "nno", "et": "est", "zh": "zho", "cmn": "zho"}
    assert {code: three_letters(code) for code in named} == named
    assert whisper_language(None, known) is None
    with pytest.raises(MetricFailed, match="xx"):
        whisper_language("xx", known)


def test_language_that_no_model_knows_is_no_wrong_answer():
    context = Context("u", lang="xx")
    with pytest.raises(MetricFailed, match="'xx'.*ISO 639-3"):
        METRICS["LID"].compute(speechlike(16000), None, 16000, context)
    with pytest.raises(MetricFailed, match="'xx'.*ISO 639-1"):
        usable("LID(Whisper-base)").compute(speechlike(16000), None, 16000, context)


def test_no_reference_means_no_reference():
    for metric in METRICS.values():
        assert metric.category in CATEGORIES and metric.source and metric.rate
    wav = mixed(speechlike(16000), 0)
    assert usable("DNSMOS OVRL").compute(wav, None, 16000, Context("u")) > 0


def test_unknown_metric_names_the_nearest_and_all():
    with pytest.raises(ValueError, match=r"'PSEQ': did you mean 'PESQ'\?.*ESTOI.*CAcc_Whisper"):
        select(["PSEQ"])
    assert select(["estoi", "SpkSim(Resemblyzer)"]) == ["ESTOI", "SpkSim(Resemblyzer)"]


def test_scores_are_the_same_for_any_nj(sets):
    one = run(sets, "noisy")
    assert (one.scored, one.skipped, one.quarantined) == (3, 0, 0)
    rows = read_rows(sets / "out_noisy" / "scores.jsonl")
    assert [rows[u]["fs"] for u in sorted(rows)] == [8000, 16000, 48000]
    score(sets / "ref.scp", sets / "noisy.scp", sets / "out_two", LIGHT, nj=2)
    two = read_rows(sets / "out_two" / "scores.jsonl")
    assert rows.keys() == two.keys()
    for uid, row in rows.items():  # sums are taken in another order with another thread count
        assert row["scores"] == pytest.approx(two[uid]["scores"], rel=1e-6, abs=1e-9)


def test_killed_scoring_resumes_without_loss(sets):
    run(sets, "noisy")
    path = sets / "out_noisy" / "scores.jsonl"
    whole = read_rows(path)
    path.write_bytes(path.read_bytes()[:-40])
    summary = run(sets, "noisy")
    assert (summary.scored, summary.skipped) == (1, 2)
    assert {u: r["scores"] for u, r in read_rows(path).items()} == {
        u: r["scores"] for u, r in whole.items()
    }
    assert run(sets, "noisy").skipped == 3


def test_array_jobs_merge_to_the_rows_of_one_run(sets):
    lists = (sets / "ref.scp", sets / "noisy.scp")
    assert score(*lists, sets / "whole", LIGHT, nj=0).scored == 3
    for part, count in (("1/2", 2), ("2/2", 1)):
        assert score(*lists, sets / "parts", LIGHT, nj=0, split=part).scored == count
    assert score(*lists, sets / "parts", LIGHT, nj=0).skipped == 3
    rows = [read_rows(sets / name / "scores.jsonl") for name in ("whole", "parts")]
    assert {u: r["scores"] for u, r in rows[0].items()} == {
        u: r["scores"] for u, r in rows[1].items()
    }
    with pytest.raises(ValueError, match="--split 3/2"):
        score(*lists, sets / "parts", LIGHT, split="3/2")


def test_new_metric_is_added_and_changed_file_is_scored_again(sets):
    run(sets, "noisy", ["SI-SDR"])
    assert run(sets, "noisy", LIGHT).scored == 3
    row = read_rows(sets / "out_noisy" / "scores.jsonl")["u1"]
    assert row["scores"]["SI-SDR"] == pytest.approx(0, abs=0.1) and row["scores"]["LSD"] > 0
    assert list(row["cost_s"]) == LIGHT
    write_audio(sets / "noisy" / "u1.wav", mixed(speechlike(16000, 1.5), 20), 16000, "FLOAT")
    assert run(sets, "noisy").scored == 1
    row = read_rows(sets / "out_noisy" / "scores.jsonl")["u1"]
    assert row["scores"]["SI-SDR"] == pytest.approx(20, abs=0.1)


def test_bad_files_are_quarantined_with_the_reason(sets):
    ref = speechlike(16000, 1.0)
    bad = {
        "length": (ref[:-400], 16000, "15600 samples, its reference has 16000: 25.0 ms apart"),
        "rate": (ref, 8000, "rate 8000 Hz, its reference has 16000 Hz"),
        "nan": (np.full_like(ref, np.nan), 16000, "NaN"),
        "silent": (np.zeros_like(ref), 16000, "silent"),
    }
    refs, infs = {}, {}
    for uid, (wav, fs, _) in bad.items():
        refs[uid], infs[uid] = sets / "ref" / f"{uid}.wav", sets / "inf" / f"{uid}.wav"
        write_audio(refs[uid], ref, 16000)
        write_audio(infs[uid], wav, fs, subtype="FLOAT")
    refs["gone"] = refs["never"] = refs["close"] = refs["rate"]
    refs["noref"], infs["noref"] = infs["silent"], refs["rate"]
    infs["gone"], infs["extra"] = sets / "gone.wav", refs["rate"]
    infs["close"] = sets / "inf" / "close.wav"
    write_audio(infs["close"], ref[:-100], 16000)
    write_list(sets / "r.scp", refs)
    write_list(sets / "i.scp", infs)
    summary = score(sets / "r.scp", sets / "i.scp", sets / "out", LIGHT, nj=0)
    reasons = read_quarantine(sets / "out" / "quarantine.tsv")
    for uid, (_, _, reason) in bad.items():
        assert reason in reasons[uid]
    assert reasons["gone"] == "unreadable: no such file"
    assert f"its reference {refs['noref']}: silent" in reasons["noref"]
    assert "never enhanced" in reasons["never"] and "no reference" in reasons["extra"]
    assert (summary.scored, summary.quarantined) == (1, 8)
    assert list(read_rows(sets / "out" / "scores.jsonl")) == ["close"]


def test_pesq_of_many_bursts_is_that_of_its_pieces(sets):
    """The package's C code writes beyond its arrays where there are more than 50."""
    pesq = usable("PESQ")
    rng = np.random.default_rng(0)
    sounds = [0.2 * rng.standard_normal(1700) for _ in range(60)]
    ref = np.concatenate([np.pad(sound, (0, 1900)) for sound in sounds])
    ref = (ref + 1e-4 * rng.standard_normal(ref.size)).astype(np.float32)
    inf = (ref + 0.01 * rng.standard_normal(ref.size)).astype(np.float32)
    assert bursts(ref, 8000) == 60 and bursts(speechlike(8000, 10), 8000) < 40
    parts = pieces(ref, 8000)
    assert parts[0].start == 0 and parts[-1].stop == ref.size
    assert all(a.stop == b.start for a, b in zip(parts, parts[1:], strict=False))
    assert all(part.stop - part.start <= 18 * 8000 for part in parts)
    assert all(np.abs(ref[part][:40]).max() < 0.01 for part in parts[1:])  # cut in a pause
    context = Context("u")
    value = pesq.compute(inf, ref, 8000, context)
    alone = [pesq.compute(inf[part], ref[part], 8000, Context("p")) for part in parts]
    assert value == pytest.approx(np.average(alone, weights=[p.stop - p.start for p in parts]))
    assert context.notes["PESQ"] == "mean over 2 pieces: too many bursts for its C code"


def test_metric_that_fails_on_one_file_leaves_null_and_the_reason(sets):
    usable("PESQ")
    ref = speechlike(16000, 0.15)
    write_audio(sets / "short.wav", ref, 16000)
    write_list(sets / "s.scp", {"short": sets / "short.wav"})
    score(sets / "s.scp", sets / "s.scp", sets / "out", ["PESQ", "SI-SDR"], nj=0)
    row = read_rows(sets / "out" / "scores.jsonl")["short"]
    assert row["scores"] == {"PESQ": None, "SI-SDR": 50.0}
    assert "0.25 s" in row["failed"]["PESQ"]


def test_without_references_only_their_metrics_are_absent(sets):
    with pytest.raises(ValueError, match="no metric can run: SI-SDR: needs clean references"):
        score(None, sets / "noisy.scp", sets / "out", LIGHT)


def test_lists_of_other_utterances_are_refused(sets):
    write_list(sets / "other.scp", {"x": "x.wav"})
    with pytest.raises(ValueError, match="no utterance in common"):
        score(sets / "ref.scp", sets / "other.scp", sets / "out", LIGHT)


def test_tables_have_means_intervals_counts_and_harm(sets):
    run(sets, "noisy")
    run(sets, "better")
    systems = {"Noisy": sets / "out_noisy", "Dis.": sets / "out_better"}
    lines = results_table(systems).markdown().splitlines()
    assert lines[0] == "| System | SI-SDR ↑ | LSD ↓ |"
    assert lines[2].startswith("| Noisy | 0.00 ± 0.00 | ")
    assert lines[3].startswith("| Dis. | 10.00 ± 0.00 | ")
    assert lines[4] == "| utterances | 3 | 3 |"
    assert harm_table(systems).markdown().splitlines()[2] == "| Dis. | 0.0 % | 0.0 % |"
    swapped = {"Noisy": sets / "out_better", "Dis.": sets / "out_noisy"}
    row = harm_table(swapped).markdown().splitlines()[2]
    assert row.startswith("| Dis. | 100.0 % (-10.00) | 100.0 % (+")
    assert results_table(systems) == results_table(systems)


def test_failing_on_a_file_is_harm_and_does_not_raise_the_mean(sets):
    run(sets, "noisy")
    (sets / "better" / "u0.wav").write_bytes(b"not audio")
    run(sets, "better")
    systems = {"Noisy": sets / "out_noisy", "Dis.": sets / "out_better"}
    assert harm_table(systems).markdown().splitlines()[2] == "| Dis. | 33.3 % | 33.3 % |"
    assert results_table(systems).markdown().splitlines()[4] == "| utterances | 2 | 2 |"
    assert "Dis.: 1 quarantined (u0: unreadable" in notes(systems)


def test_weighted_mean_of_accuracies_is_that_of_the_pooled_edits():
    edits, letters = np.array([1, 0, 9]), np.array([10, 40, 12])
    mean, half = mean_and_interval(1 - edits / letters, letters)
    assert mean == pytest.approx(1 - edits.sum() / letters.sum())
    assert half > 0


def test_columns_that_were_in_a_loss_are_marked_everywhere(sets):
    lists = (sets / "ref.scp", sets / "better.scp", sets / "out_better", LIGHT)
    run(sets, "noisy")
    score(*lists, nj=0, in_loss=["SI-SDR", "PESQ"])
    systems = {"Noisy": sets / "out_noisy", "Dis.": sets / "out_better"}
    noisy, ours, _ = results_table(systems).rows
    assert ours[1].endswith("10.00 ± 0.00 †") and "†" not in ours[2] + "".join(noisy)
    assert harm_table(systems).rows[0][1:] == ["0.0 % †", "0.0 %"]
    assert dict(breakdown_tables(systems))["Rate"].rows[1][3].endswith("†")
    assert "† Dis.: PESQ, SI-SDR was in its training's loss and is no judge of it" in notes(systems)
    latex = latex_table(statistics(read_systems(systems)), "x")
    assert r"Dis. & \textbf{10.00$^\dagger$}" in latex


def test_interval_covers_the_mean_of_a_known_distribution():
    values = np.random.RandomState(0).standard_normal(400)
    assert mean_and_interval(values, np.ones(400))[1] == pytest.approx(1.96 / 20, rel=0.1)


def test_harm_needs_the_unprocessed_input(sets):
    run(sets, "better")
    with pytest.raises(ValueError, match="no system is called 'Noisy'.*Noisy=DIR"):
        harm_table({"Dis.": sets / "out_better"})


def test_absent_column_is_explained(sets):
    run(sets, "noisy", ["SI-SDR", "LSD"])
    run(sets, "better", ["SI-SDR"])
    path = sets / "out_better" / "scoring.json"
    settings = json.loads(path.read_text())
    settings["unavailable"] = {"PESQ": "package 'pesq' is not installed; run: pip install x"}
    path.write_text(json.dumps(settings))
    text = notes({"Noisy": sets / "out_noisy", "Dis.": sets / "out_better"})
    assert "no column PESQ: package 'pesq' is not installed; run: pip install x" in text
    assert "no column LSD: not every system has it (asked for in Noisy)" in text


def test_cli_scores_tabulates_and_writes_results(sets, capsys):
    out = str(sets / "out")
    scp = ["--ref", f"{sets}/ref.scp", "--inf", f"{sets}/noisy.scp", "--out", out]
    assert main(["score", *scp, "--metrics", "SI-SDR", "--nj", "0"]) == 0
    results = sets / "RESULTS.md"
    table = ["--table", f"Noisy={out}", f"Dis.={out}", "--results", str(results)]
    assert main(["score", *table, "--fact", "seed=3", "config=mini"]) == 0
    text = results.read_text()
    for needed in ("| Noisy |", "Do no harm", "- seed: 3", "Python", "torch", "cores", "command"):
        assert needed in text
    assert "already" not in capsys.readouterr().err
    assert main(["score", *scp, "--metrics", "loud"]) == 2
    assert "unknown metric 'loud'" in capsys.readouterr().err
    assert main(["score", "--table", "out"]) == 2
    assert "not NAME=VALUE" in capsys.readouterr().err


@pytest.mark.slow
def test_results_are_written_where_the_reader_of_the_tables_leaves_early(sets):
    run(sets, "noisy")
    results = sets / "RESULTS.md"
    table = ["--table", *(f"{n * 9999}={sets}/out_noisy" for n in "ab"), "--results", str(results)]
    command = [sys.executable, "-m", "espnet_hybridse.cli.main", "score", *table]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.stdout.close()
    assert (done.stderr.read(), done.wait()) == (b"", 141)
    assert "How these numbers were made" in results.read_text()


def test_options_that_would_be_ignored_are_refused(tmp_path, capsys):
    for words, said in (
        (["--table", "A=a", "--inf", "i.scp"], "would ignore --inf"),
        (["--rank", "a", "b", "--results", "R.md"], "would ignore --results"),
        (["--inf", "i.scp", "--out", "o", "--results", "R.md"], "would ignore --results"),
        (["--table", "A=a", "--metrics", "PESQ"], "would ignore --metrics"),
        (["--table", "A=a", "--worst", "-1"], "--worst -1 must be 0"),
        (["--table", "A=a", "--results", str(tmp_path)], "is a folder; name a file in it"),
    ):
        assert main(["score", *words]) == 2
        assert said in capsys.readouterr().err


def test_nothing_scored_is_an_error_with_the_reason(sets, capsys):
    write_list(sets / "gone.scp", {"u0": sets / "gone.wav", "u1": sets / "gone.wav"})
    scp = ["--ref", f"{sets}/ref.scp", "--inf", f"{sets}/gone.scp", "--out", f"{sets}/gone"]
    assert main(["score", *scp, "--metrics", *LIGHT, "--nj", "0"]) == 2
    err = capsys.readouterr().err
    assert "none of 3 files could be scored" in err and "unreadable" in err
    assert f"{sets}/gone/quarantine.tsv" in err


def test_lists_of_other_utterances_or_no_text_are_named(sets):
    write_list(sets / "text", {"x": "hello"})
    with pytest.raises(ValueError, match="text and .* have no utterance in common"):
        score(None, sets / "noisy.scp", sets / "out", ["DNSMOS_OVRL"], text=sets / "text")
    (sets / "noisy" / "u0.wav").rename(sets / "list")
    with pytest.raises(ListError, match="list: not text"):
        score(sets / "ref.scp", sets / "list", sets / "out", LIGHT)


def test_damaged_row_is_named(sets):
    run(sets, "noisy")
    path = sets / "out_noisy" / "scores.jsonl"
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text(first + others[0][:40] + "\n" + others[1])
    with pytest.raises(ListError, match="scores.jsonl:2: no row of scores; delete this line"):
        results_table({"Noisy": path.parent})


def test_systems_of_other_utterances_are_not_tabulated(sets):
    for name, uids in (("a", ["u0"]), ("b", ["u1", "u2"])):
        write_list(sets / f"{name}.scp", {uid: sets / "noisy" / f"{uid}.wav" for uid in uids})
        run(sets, name)
    with pytest.raises(ValueError, match="same utterance in every system .A: SI-SDR, LSD on 1 utt"):
        results_table({"A": sets / "out_a", "B": sets / "out_b"})


def test_one_utterance_has_no_interval(sets):
    write_list(sets / "one.scp", {"u0": sets / "noisy" / "u0.wav"})
    run(sets, "one", ["SI-SDR"])
    assert "| A | 0.00 |" in results_table({"A": sets / "out_one"}).markdown().replace(
        "-0.00", "0.00"
    )


def test_column_that_failed_everywhere_says_why(sets):
    usable("CAcc(Whisper-base)")
    run(sets, "noisy", ["SI-SDR", "CAcc_Whisper"])
    text = notes({"Noisy": sets / "out_noisy"})
    assert "no column CAcc(Whisper-base): Noisy: failed on all 3 (no transcript" in text


def test_array_jobs_not_yet_merged_are_pointed_out(sets):
    score(sets / "ref.scp", sets / "noisy.scp", sets / "out", LIGHT, nj=0, split="1/2")
    with pytest.raises(FileNotFoundError, match="again without --split, which merges"):
        results_table({"A": sets / "out"})


def test_results_file_is_written_whole(tmp_path):
    write_results(tmp_path / "RESULTS.md", ["| a |"], {"seed": 0})
    assert [path.name for path in tmp_path.iterdir()] == ["RESULTS.md"]
