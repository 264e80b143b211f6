"""The challenge's folders and lists, array jobs, Dask, and input that is bad in every way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.simulation_sources import make_sources

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.lists import ListError, read_list
from espnet_hybridse.simulation.cache import AudioCache
from espnet_hybridse.simulation.config import SimulationConfig, config_from_dict
from espnet_hybridse.simulation.degrade import BadSource, simulate
from espnet_hybridse.simulation.meta import COLUMNS, read_meta, write_meta
from espnet_hybridse.simulation.parameters import FOLDER_SIZE, row_generator, sample_parameters
from espnet_hybridse.simulation.render import render, render_set
from espnet_hybridse.simulation.set_lists import write_lists
from espnet_hybridse.simulation.sources import Sources, read_segment, scan_speech

CONFIG = str(Path(__file__).parents[2] / "conf" / "simulation.yaml")
THEIRS = {
    "speech.scp": "speech_sources.scp",
    "noise.scp": "noise_scoures.scp",
    "wind.scp": "wind_noise_scoures.scp",
    "rir.scp": "rirs.scp",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("data") / "train", 5, num=4)


@pytest.fixture(scope="module")
def sources(folder):
    return Sources.from_folder(folder)


@pytest.fixture
def train_sources(folder, tmp_path):
    """The same sources under the challenge's file names, with its list of lengths."""
    theirs = tmp_path / "train_sources"
    theirs.mkdir()
    for name in ("utt2spk", "text"):
        shutil.copy(folder / name, theirs / name)
    for ours, name in THEIRS.items():
        shutil.copy(folder / ours, theirs / name)
    lengths = [
        f"{line.split()[0]} {soundfile.info(line.split()[2]).frames}"
        for line in (folder / "speech.scp").read_text().splitlines()
    ]
    (theirs / "source_length.scp").write_text("\n".join(lengths) + "\n")
    return theirs


def audio(out: Path) -> dict:
    """Bytes of a set's audio by file name."""
    return {
        path.name: path.read_bytes()
        for kind in ("noisy", "clean")
        for path in sorted((out / kind).rglob("*.*"))
        for path in [path]
    }


# --- lists --------------------------------------------------------------------------------------


def test_train_sources_of_the_challenge_give_the_same_samples(folder, train_sources):
    theirs = Sources.from_folder(train_sources)
    assert theirs.lengths and theirs.wind and theirs.rir
    for path in map(Path, [entry[1] for entry in theirs.speech.values()]):
        assert path.is_file()
    ours = sample_parameters(Sources.from_folder(folder), SimulationConfig(), 20, 0)
    assert list(sample_parameters(theirs, SimulationConfig(), 20, 0)) == list(ours)


def test_lengths_of_the_list_are_taken_without_opening_a_file(train_sources):
    sources = Sources.from_folder(train_sources)
    moved = {uid: (fs, "/nowhere" + path) for uid, (fs, path) in sources.speech.items()}
    pool = scan_speech(Sources(**{**vars(sources), "speech": moved}), SimulationConfig())
    assert set(pool.seconds) == set(sources.speech) and not pool.bad


def test_meta_of_the_challenges_generator_is_rendered(train_sources, sources, tmp_path):
    theirs = tmp_path / "theirs.tsv"
    header = "id noisy_path speech_uid speech_sid clean_path noise_uid noise_path snr_dB rir_uid "
    header += "augmentation fs length text"
    wind = "wind_noise(threshold=0.2,ratio=9.5,attack=20.1,release=40.2,sc_gain=1.0,clipping=False,"
    wind += "clipping_threshold=0.9)/"
    rows = []
    for number, (noise, rir, augmentation) in enumerate(
        [
            ("n5_1", "none", "none"),
            ("wind_noise5", "r5_48000", wind),
            (
                "n5_0",
                "r5_48000",
                "bandwidth_limitation-kaiser_best->8000/clipping(min=0.0,max=0.9)",
            ),
            (
                "n5_1",
                "none",
                "codec(format=ogg,encoder=opus,qscale=-1)/bandwidth_limitation-none->48000",
            ),
            ("n5_1", "none", "packet_loss(packet_loss_indices=[0, 3],packet_duration_ms=20)"),
        ],
        1,
    ):
        fs, path = sources.speech["s5_0"]
        length = soundfile.info(path).frames
        rows.append(f"fileid_{number} x.flac s5_0 spk5 y.flac {noise} z.flac 3.5 {rir}".split())
        rows[-1] += [augmentation, str(fs), str(length), "some words"]
    lines = ["\t".join(header.split()), *map("\t".join, rows)]
    theirs.write_text("\n".join(lines) + "\n")
    out = tmp_path / "set"
    command = ["simulate", "--sources", str(train_sources), "--out", str(out)]
    assert main([*command, "--meta", str(theirs), "--format", "wav"]) == 0
    assert len(read_list(out / "wav.scp")) == 5
    written = (out / "meta.tsv").read_text().splitlines()[0].split("\t")
    assert [name for name in header.split() if name != "noise_path"] == written[:12]
    assert read_meta(out / "meta.tsv")[3].seed == 4
    assert {path.suffix for path in (out / "noisy").iterdir()} == {".wav"}


def test_a_row_s_generator_depends_on_seed_and_row_alone():
    first, number = row_generator(7, 4095)
    again, same = row_generator(7, 4095)
    assert first.random() == again.random()
    assert number == same != row_generator(7, 4096)[1]
    with pytest.raises(ValueError, match="accepted: 0 to 4294967295"):
        row_generator(-1, 0)


def test_a_large_set_is_spread_over_folders(sources):
    samples = list(sample_parameters(sources, SimulationConfig(), FOLDER_SIZE + 1, 0, "d/train"))
    assert samples[0].noisy_path == "d/train/noisy/train_000000.flac"
    assert samples[-1].clean_path == "d/train/clean/1/train_005000.flac"


def test_parameters_and_lists_are_written_as_they_come(sources, tmp_path):
    def endless():
        samples = sample_parameters(sources, SimulationConfig(), 10**7, 0, tmp_path)
        for number, sample in enumerate(samples):
            if number == 50:
                text = next(tmp_path.glob(".tmp-*")).read_text()
                raise RuntimeError(f"{len(text)} characters written")
            yield sample

    many = endless()
    with pytest.raises(RuntimeError, match="characters written"):
        write_meta(tmp_path / "meta.tsv", many)
    assert not (tmp_path / "meta.tsv").exists()
    samples = list(sample_parameters(sources, SimulationConfig(), 12, 0, tmp_path))
    assert write_lists(reversed(samples), tmp_path) == 12
    assert list(read_list(tmp_path / "wav.scp")) == [sample.id for sample in samples]


# --- array jobs and clusters --------------------------------------------------------------------


def test_array_jobs_complete_to_the_bytes_of_one_run(folder, tmp_path, capsys):
    command = ["simulate", "--sources", str(folder), "--config", CONFIG, "--num", "7"]
    one, jobs = tmp_path / "one" / "train", tmp_path / "jobs" / "train"
    assert main([*command, "--out", str(one)]) == 0
    for number in (2, 1):
        assert main([*command, "--out", str(jobs), "--split", f"{number}/2"]) == 0
        assert not (jobs / "wav.scp").exists()
    assert main([*command, "--out", str(jobs), "--split", "1/2", "--seed", "9"]) == 2
    assert "seed 0 against 9" in capsys.readouterr().err
    assert main([*command, "--out", str(jobs)]) == 0
    assert "0 rendered" in capsys.readouterr().out
    assert audio(one) == audio(jobs)
    for name in ("utt2fs", "text", "utt2distortion"):
        assert (one / name).read_bytes() == (jobs / name).read_bytes()
    assert not list(jobs.glob("quarantine.*of*"))
    with pytest.raises(ValueError, match="--split 3/2 is not i/n"):
        render_set(Sources.from_folder(folder), jobs, split="3/2")


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bytes(sources, tmp_path):
    pytest.importorskip("distributed")
    samples = {
        name: list(sample_parameters(sources, SimulationConfig(), 4, 0, tmp_path / name / "train"))
        for name in ("here", "dask")
    }
    render(samples["here"], sources, tmp_path / "here" / "train")
    render(samples["dask"], sources, tmp_path / "dask" / "train", executor="dask")
    assert audio(tmp_path / "here" / "train") == audio(tmp_path / "dask" / "train")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of Slurm's names that run jobs here; a queue "nowhere" is refused, as Slurm does."""
    pytest.importorskip("dask_jobqueue")
    import dask

    commands = tmp_path / "commands"
    commands.mkdir()
    submit = """
        for script; do :; done
        if grep -q "SBATCH -p nowhere" "$script"; then
          echo "sbatch: error: invalid partition specified: nowhere" >&2; exit 1
        fi
        [ "$1" != --test-only ] || exit 0
        cp "$script" "$script.kept"; setsid sh "$script.kept" >/dev/null 2>&1 &
        echo "Submitted batch job $!" """
    for name, lines in (("sbatch", submit), ("scancel", 'kill -- -"$1"')):
        (commands / name).write_text("#!/bin/sh\n" + lines)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    dask.config.refresh()
    with dask.config.set({"jobqueue.slurm.memory": "2GB", "jobqueue.slurm.interface": "lo"}):
        yield dask.config


@pytest.mark.slow
def test_slurm_jobs_give_the_same_bytes(sources, tmp_path, slurm):
    outs = [tmp_path / name / "train" for name in ("here", "slurm")]
    for out, how in zip(outs, ({}, {"executor": "dask", "scheduler": "slurm"}), strict=True):
        samples = list(sample_parameters(sources, SimulationConfig(), 4, 0, out))
        render(samples, sources, out, **how)
    assert audio(outs[0]) == audio(outs[1])


def test_what_slurm_refuses_is_said_before_the_start(sources, tmp_path, slurm, monkeypatch):
    samples = list(sample_parameters(sources, SimulationConfig(), 4, 0, tmp_path))
    how = {"executor": "dask", "scheduler": "slurm"}
    with (
        slurm.set({"jobqueue.slurm.queue": "nowhere"}),
        pytest.raises(ValueError, match="invalid partition specified: nowhere; accepted: .*yaml"),
    ):
        render(samples, sources, tmp_path, **how)
    with (
        slurm.set({"jobqueue.slurm.memory": None}),
        pytest.raises(ValueError, match="must specify how much cores and memory"),
    ):
        render(samples, sources, tmp_path, **how)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="No such file or directory: 'sbatch'"):
        render(samples, sources, tmp_path, **how)


def test_wrong_executors_are_named(sources, tmp_path):
    samples = list(sample_parameters(sources, SimulationConfig(), 4, 0, tmp_path))
    with pytest.raises(ValueError, match="ray is not one of processes, dask"):
        render(samples, sources, tmp_path, executor="ray")
    with pytest.raises(ValueError, match="goes with --executor dask"):
        render(samples, sources, tmp_path, nj=2, scheduler="tcp://a:1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--split 3/2", "--split 3/2 is not i/n"),
        ("--split 1/2 --params_only", "leave --split to the jobs"),
        ("--seed 4294967296", "seed 0 to 4294967295"),
        ("--scheduler slurm", "goes with --executor dask"),
    ],
)
def test_wrong_options_leave_a_set_as_it_is(folder, tmp_path, capsys, options, message):
    out = tmp_path / "train"
    command = ["simulate", "--sources", str(folder), "--config", CONFIG, "--out", str(out)]
    assert main([*command, "--num", "2"]) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert main([*command, "--num", "3", *options.split()]) == 2
    assert message in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_file_in_the_place_of_the_set_and_a_meta_that_is_no_text_are_named(
    folder, tmp_path, capsys
):
    file = tmp_path / "file"
    file.write_bytes(b"\xe1\x00")
    command = ["simulate", "--sources", str(folder), "--config", CONFIG]
    assert main([*command, "--out", str(file / "train")]) == 2
    assert f"{file} is a file" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "train"), "--meta", str(file)]) == 2
    assert f"{file}: no text" in capsys.readouterr().err


def test_options_may_be_written_with_hyphens(folder, tmp_path):
    out = tmp_path / "train"
    command = ["simulate", "--sources", str(folder), "--config", CONFIG, "--out", str(out)]
    assert main([*command, "--params-only", "--num=3", "--ogg-encoders", "vorbis"]) == 0
    assert len(read_meta(out / "meta.tsv")) == 3 and not (out / "noisy").exists()


def test_without_a_config_the_challenges_values_are_taken(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["simulate", "--sources", str(folder), "--num", "5", "--params_only", "--out", "set"]
    metas = []
    for config in ([], ["--config", CONFIG]):
        assert main([*command, *config]) == 0
        metas.append(Path("set/meta.tsv").read_bytes())
    assert metas[0] == metas[1]
    assert main([*command, "--config", "gone.yaml"]) == 2
    assert "gone.yaml: no such config; leave it out" in capsys.readouterr().err


def test_a_full_disk_is_said_before_the_start(sources, tmp_path):
    sample = next(sample_parameters(sources, SimulationConfig(), 1, 0, tmp_path))
    values = {name: getattr(sample, name) for name in COLUMNS}
    with pytest.raises(RuntimeError, match="GB needed for these samples.*make room"):
        render([type(sample)(**{**values, "length": 10**15})], sources, tmp_path)
    assert not (tmp_path / "noisy").exists()


# --- cache --------------------------------------------------------------------------------------


def test_the_cache_is_bounded_and_sees_that_a_file_changed(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.full(48000, 0.1), 48000)
    cache = AudioCache(limit_mb=0.3)
    first = read_segment(str(path), 48000, 1000, np.random.default_rng(0), cache)
    again = read_segment(str(path), 48000, 1000, np.random.default_rng(0), cache)
    np.testing.assert_array_equal(first, again)
    soundfile.write(path, np.full(24000, 0.2), 48000)
    changed = read_segment(str(path), 48000, 1000, np.random.default_rng(0), cache)
    assert changed[0] == pytest.approx(0.2, abs=1e-3)
    assert cache.held <= cache.limit
    for seconds in (1.0, 40.0):  # kept whole, and read piece by piece
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, int(seconds * 8000)), 8000)
        pieces = [
            read_segment(str(path), 8000, 4000, np.random.default_rng(3), AudioCache(limit))
            for limit in (0, 96)
        ]
        np.testing.assert_array_equal(*pieces)


# --- bad input ----------------------------------------------------------------------------------


def bad_rows(sources, tmp_path, **changes):
    """The reason for which a sample with these changes is quarantined."""
    samples = sample_parameters(sources, config_from_dict({"wind": {"probability": 0}}), 3, 0, "d")
    sample = next(samples)
    values = {**{name: getattr(sample, name) for name in COLUMNS}, **changes}
    with pytest.raises(BadSource) as error:
        simulate(type(sample)(**values), sources)
    return f"{error.value.path}: {error.value}"


def with_file(sources, kind, wav, fs, tmp_path):
    """The sources with one more entry `bad` of a kind."""
    path = tmp_path / "bad.wav"
    if isinstance(wav, bytes):
        path.write_bytes(wav)
    else:
        soundfile.write(path, wav, fs, subtype="FLOAT")
    table = {**getattr(sources, kind), "bad": (fs, str(path))}
    return Sources(**{**vars(sources), kind: table})


@pytest.mark.parametrize(
    ("kind", "wav", "reason"),
    [
        ("noise", np.zeros(48000), "silent"),
        ("noise", np.zeros(0), "empty"),
        ("noise", b"no audio", "unreadable"),
        ("noise", np.zeros((48000, 2)), "silent"),
        ("rir", np.zeros(100), "silent"),
        ("rir", np.zeros(0), "empty"),
        ("rir", b"", "unreadable"),
        ("speech", np.zeros(48000), "silent"),
        ("speech", b"no audio", "unreadable"),
    ],
)
def test_bad_files_are_quarantined_with_the_reason(sources, tmp_path, kind, wav, reason):
    worse = with_file(sources, kind, wav, 48000, tmp_path)
    text = bad_rows(worse, tmp_path, **{f"{kind}_uid": "bad"})
    assert reason in text and "bad.wav" in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fs": 11025}, "fs=11025 Hz is not one of 8000"),
        ({"speech_uid": "nobody"}, "'nobody' is in none of the source lists"),
        ({"noise_uid": "nothing"}, "'nothing' is in none of the source lists"),
        ({"rir_uid": "nowhere"}, "'nowhere' is in none of the source lists"),
        ({"augmentation": "reverb(1)"}, "is not understood"),
        ({"snr_dB": 900.0}, "snr_db=900.0"),
    ],
)
def test_bad_rows_are_quarantined_with_the_reason(sources, tmp_path, changes, reason):
    assert reason in bad_rows(sources, tmp_path, **changes)


def test_speech_that_no_list_describes_is_quarantined(folder, tmp_path):
    own = tmp_path / "data"
    shutil.copytree(folder, own)
    soundfile.write(own / "slow.wav", np.full(6000, 0.1), 6000)
    soundfile.write(own / "none.wav", np.zeros(0), 16000)
    shutil.copy(own / "slow.wav", own / "nobody.wav")
    with open(own / "speech.scp", "a") as handle:
        handle.write(f"slow 6000 {own}/slow.wav\nnone 16000 {own}/none.wav\n")
        handle.write(f"nobody 6000 {own}/nobody.wav\n")
    with open(own / "utt2spk", "a") as handle:
        handle.write("slow a\nnone a\n")
    pool = scan_speech(Sources.from_folder(own), SimulationConfig())
    reasons = {uid: reason for uid, _, reason in pool.bad}
    assert set(reasons) == {"slow", "none", "nobody"}
    assert "6000 Hz is below 8000 Hz" in reasons["slow"]
    assert "no sample" in reasons["none"] and "no speaker" in reasons["nobody"]


@pytest.mark.parametrize("name", ["speech.scp", "noise.scp", "wind.scp", "rir.scp"])
def test_a_list_that_names_nothing_stops_before_the_start(folder, tmp_path, name):
    own = tmp_path / "data"
    shutil.copytree(folder, own)
    (own / name).write_text("\n")
    with pytest.raises(ListError, match=f"{name}: the list is empty"):
        Sources.from_folder(own)
    (own / name).write_text("a b c\n")
    with pytest.raises(ListError, match=f"{name}:1: expected 'uid fs path'"):
        Sources.from_folder(own)


def test_a_meta_that_names_nothing_stops_before_the_start(folder, tmp_path, capsys):
    empty = tmp_path / "meta.tsv"
    empty.write_text("\t".join(COLUMNS) + "\n")
    command = ["simulate", "--sources", str(folder), "--out", str(tmp_path / "set")]
    assert main([*command, "--meta", str(empty)]) == 2
    assert "names no sample" in capsys.readouterr().err
    assert not (tmp_path / "set" / "meta.tsv").exists()


@pytest.mark.parametrize("uid", ["../../evil", "a b"])
def test_an_id_that_is_no_name_stops_before_the_start(folder, tmp_path, capsys, uid):
    meta = tmp_path / "meta.tsv"
    row = [uid, "-", "s", "s", "-", "n", "3.0", "none", "none", "16000", "16000"]
    meta.write_text("\n".join("\t".join(line) for line in (COLUMNS[: len(row)], row)))
    command = ["simulate", "--sources", str(folder), "--out", str(tmp_path / "out" / "set")]
    assert main([*command, "--meta", str(meta)]) == 2
    assert "no blank and no slash" in capsys.readouterr().err
    assert not (tmp_path / "out" / "set" / "meta.tsv").exists()


def test_a_folder_whose_name_cannot_begin_an_id_is_refused(folder, tmp_path, capsys):
    assert main(["simulate", "--sources", str(folder), "--out", str(tmp_path / "my set")]) == 2
    assert "no blanks" in capsys.readouterr().err and not (tmp_path / "my set").exists()


@pytest.mark.slow
def test_drawing_starts_without_torch():
    code = "import sys, espnet_hybridse.cli.simulate as _; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
