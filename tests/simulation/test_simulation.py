"""Simulation: distortions, parameters, rendering that survives kill -9, and the checks after it."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.simulation_sources import make_sources, voice

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import ListError, read_list, read_sources
from espnet_hybridse.fileio.yaml_config import ConfigError
from espnet_hybridse.simulation.check import check_sets
from espnet_hybridse.simulation.config import config_from_dict, load_config
from espnet_hybridse.simulation.degrade import highpass, simulate
from espnet_hybridse.simulation.distortions.bandwidth import RESAMPLERS, BandwidthLimitation
from espnet_hybridse.simulation.distortions.clipping import Clipping
from espnet_hybridse.simulation.distortions.codec import Codec
from espnet_hybridse.simulation.distortions.grammar import (
    FURTHER_DISTORTIONS,
    format_distortions,
    name_of,
    parse_distortions,
)
from espnet_hybridse.simulation.distortions.noise import AdditiveNoise, active_power
from espnet_hybridse.simulation.distortions.packet_loss import PacketLoss, draw_lost_packets
from espnet_hybridse.simulation.distortions.reverberation import Reverberation
from espnet_hybridse.simulation.distortions.wind import WindNoise, generate_wind
from espnet_hybridse.simulation.meta import read_meta, write_meta
from espnet_hybridse.simulation.parameters import sample_parameters
from espnet_hybridse.simulation.render import render
from espnet_hybridse.simulation.set_lists import distortion_label
from espnet_hybridse.simulation.sources import Sources

CONFIG = Path(__file__).parents[2] / "conf" / "simulation.yaml"
WIND = WindNoise(0.1, 10.0, 5.0, 50.0, 1.0, True, 0.9)
DISTORTIONS = [
    *(Codec("mp3", None, qscale) for qscale in (1, 9)),
    *(Codec("ogg", encoder, qscale) for encoder in ("vorbis", "opus") for qscale in (-1, 9)),
    *(BandwidthLimitation(name, 8000) for name in RESAMPLERS),
    Clipping(0.05, 0.93),
    PacketLoss((0, 3, 4), 20),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("data") / "train", 1)


@pytest.fixture(scope="module")
def sources(folder):
    return Sources.from_folder(folder)


def draw(sources, num, out, seed=0, **overrides):
    return list(sample_parameters(sources, config_from_dict(overrides), num, seed, out))


def digests(out: Path) -> dict:
    """Content hash of every file of a set, its lists included."""
    return {
        str(path.relative_to(out)): hashlib.sha256(
            path.read_bytes().replace(str(out).encode(), b"OUT")
        ).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def lag(reference: np.ndarray, wav: np.ndarray) -> int:
    """Delay of `wav` (T,) in samples at the cross-correlation's peak."""
    n_fft = 2 * reference.size
    cross = np.fft.irfft(np.fft.rfft(wav, n_fft) * np.conj(np.fft.rfft(reference, n_fft)), n_fft)
    peak = int(cross.argmax())
    return peak - n_fft if peak > n_fft // 2 else peak


# --- distortions -------------------------------------------------------------------------------


@pytest.mark.parametrize("fs", RATES)
def test_distortions_keep_length_and_stay_finite(fs):
    rng = np.random.default_rng(0)
    for seconds in (0.1003, 1.0):
        speech = voice(seconds, fs)
        wind = generate_wind(seconds, fs, rng)[: speech.size]
        results = [distortion.apply(speech, fs) for distortion in DISTORTIONS]
        results.append(WIND.mixed_with(wind, 3.0).apply(speech, fs, rng))
        results.append(AdditiveNoise(0.0, wind).apply(speech, fs, rng))
        room = Reverberation(rng.standard_normal(fs // 5))
        results.extend([room.apply(speech, fs), room.target(speech, fs)])
        results.append(highpass(speech, fs, 70.0))
        for result in results:
            assert result.shape == speech.shape and result.dtype == np.float32
            assert np.isfinite(result).all()


@pytest.mark.parametrize("fs", RATES)
def test_codecs_and_resamplers_add_no_delay(fs):
    speech = voice(1.0, fs)
    opus = [Codec("ogg", "opus", qscale) for qscale in range(10)]
    for distortion in (*DISTORTIONS, *opus):
        assert lag(speech, distortion.apply(speech, fs)) == 0, distortion


@pytest.mark.parametrize("fs", RATES)
def test_codecs_take_signals_of_a_few_samples(fs):
    # So few bytes that the container could be taken for another.
    for size in (1, 50, 400):
        speech = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        for codec in (Codec("mp3", None, 5), Codec("ogg", "opus", 5), Codec("ogg", "vorbis", 5)):
            coded = codec.apply(speech, fs)
            assert coded.shape == speech.shape and np.isfinite(coded).all(), codec


@pytest.mark.parametrize("res_type", RESAMPLERS)
def test_bandwidth_limitation_removes_the_upper_band(res_type):
    noise = np.random.default_rng(0).standard_normal(48000).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(BandwidthLimitation(res_type, 16000).apply(noise, 48000))) ** 2
    assert spectrum[9000:].mean() < 1e-3 * spectrum[:7000].mean()
    np.testing.assert_array_equal(BandwidthLimitation(res_type, 16000).apply(noise, 8000), noise)


@pytest.mark.parametrize("snr_db", [-5.0, 3.3, 20.0])
def test_snr_is_reached_over_the_parts_that_are_not_silent(snr_db):
    fs, rng = 16000, np.random.default_rng(1)
    speech = np.concatenate([np.zeros(fs, np.float32), voice(2.0, fs)])
    noise = rng.standard_normal(speech.size)
    added = AdditiveNoise(snr_db, noise).apply(speech, fs) - speech
    reached = 10 * np.log10(active_power(speech, fs) / active_power(added, fs))
    assert abs(reached - snr_db) < 0.5
    loud = np.abs(speech) > 0.02
    assert 10 * np.log10(np.mean(speech[loud] ** 2) / np.mean(added**2)) > snr_db


def test_early_target_holds_the_direct_path_and_fifty_ms_only():
    fs = 16000
    click = np.zeros(fs, np.float32)
    click[0] = 1.0
    rir = np.full(fs // 2, 0.1)
    rir[:320] = 0.0
    rir[320] = -0.4
    room = Reverberation(rir, 50.0)
    reverberant, early = room.apply(click, fs), room.target(click, fs)
    assert early[0] == pytest.approx(-1.0) and reverberant[0] == pytest.approx(-1.0)
    np.testing.assert_allclose(early[:801], reverberant[:801], atol=1e-6)
    assert np.abs(early[801:]).max() < 1e-6 < np.abs(reverberant[801:]).max()


def test_lost_packets_keep_their_rate_and_never_run_past_the_limit():
    rng = np.random.default_rng(0)
    for packets in (1, 7, 50, 500):
        for _ in range(50):
            rate = rng.uniform(0.05, 0.25)
            lost = draw_lost_packets(packets, rate, 10, rng)
            assert len(set(lost)) == len(lost) == round(packets * rate)
            assert all(0 <= index < packets for index in lost)
            runs = "".join("x" if index in lost else " " for index in range(packets)).split()
            assert max(map(len, runs), default=0) <= 10
    lossy = PacketLoss((1,), 20).apply(np.ones(1600, np.float32), 16000)
    np.testing.assert_array_equal(np.flatnonzero(lossy == 0), np.arange(320, 640))


def test_wind_turns_speech_down_while_it_blows():
    fs = 16000
    speech = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(2 * fs) / fs)
    wind = np.zeros(2 * fs)
    wind[fs:] = 0.5 * np.sin(2 * np.pi * 50 * np.arange(fs) / fs)
    snr_db = 10 * np.log10(active_power(speech, fs) / active_power(wind, fs))
    kind = WindNoise(0.1, 20.0, 5.0, 50.0, 1.0, False, 1.0)
    mix = kind.mixed_with(wind, snr_db).apply(speech, fs) - wind
    np.testing.assert_allclose(mix[: fs - 100], speech[: fs - 100], atol=1e-6)
    assert np.abs(mix[fs + 1600 :]).max() < 0.3 * 0.1


def test_wind_is_low_pitched_and_the_same_for_the_same_seed():
    wind = generate_wind(4.0, 48000, np.random.default_rng(3))
    assert wind.shape == (192000,) and wind.dtype == np.float32
    assert np.abs(wind).max() == pytest.approx(0.5)
    power = np.abs(np.fft.rfft(wind)) ** 2
    assert power[: 4 * 300].sum() > 10 * power[4 * 1000 :].sum()
    np.testing.assert_array_equal(wind, generate_wind(4.0, 48000, np.random.default_rng(3)))
    with pytest.raises(ValueError, match="no sample"):
        generate_wind(0.0, 48000, np.random.default_rng(3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Codec("mp3", "vorbis", 3), "accepted"),
        (lambda: Codec("mp3", None, 10), "0 to 9"),
        (lambda: Clipping(0.9, 0.1), "min < max"),
        (lambda: BandwidthLimitation("linear", 8000), "soxr_vhq"),
        (lambda: PacketLoss((-1,), 20), "indices from 0"),
        (lambda: WindNoise(0.1, 0.5, 5, 5, 1, True, 0.9), "ratio >= 1"),
        (lambda: parse_distortions("reverb(x=1)"), "packet_loss"),
    ],
)
def test_nonsense_is_refused_with_what_is_accepted(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# --- parameters --------------------------------------------------------------------------------


def test_grammar_of_the_challenge_is_read_and_written():
    distortions = [WIND, *DISTORTIONS]
    assert parse_distortions(format_distortions(distortions)) == distortions
    assert parse_distortions("none") == []
    text = "bandwidth_limitation-kaiser_best->8000/codec(format=mp3,encoder=None,qscale=4)"
    assert format_distortions(parse_distortions(text)) == text


def test_any_subset_and_any_number_gives_the_same_samples(sources):
    many = draw(sources, 40, "dump/train")
    assert draw(sources, 10, "dump/train") == many[:10]
    assert draw(sources, 10, "dump/train", seed=1) != many[:10]
    assert Counter(sample.speech_uid for sample in many[:12]) == dict.fromkeys(sources.speech, 2)


def test_shares_of_the_distortions_are_those_of_the_challenge(sources):
    samples = list(sample_parameters(sources, load_config(CONFIG), 2000, 0))
    names = Counter(name for s in samples for name in distortion_label(s).split("+"))
    further = Counter(
        len([p for p in s.augmentation.split("/") if name_of(p) in FURTHER_DISTORTIONS])
        for s in samples
        if s.fs > 8000
    )
    shares = [further[count] / sum(further.values()) for count in range(4)]
    np.testing.assert_allclose(shares, [0.25, 0.40, 0.20, 0.15], atol=0.04)
    assert names["wind_noise"] / 2000 == pytest.approx(0.05, abs=0.015)
    assert names["codec"] / 2000 == pytest.approx(1.25 / 4, abs=0.05)
    assert sum(s.rir_uid != "none" for s in samples) / 2000 == pytest.approx(0.5, abs=0.04)
    assert min(s.snr_dB for s in samples) < -4 and max(s.snr_dB for s in samples) < 20


def test_no_source_serves_a_band_it_does_not_hold(sources):
    for sample in draw(sources, 200, "dump/train"):
        assert sample.fs <= {16000: 16000}.get(sources.speech[sample.speech_uid][0], 48000)
        if sample.rir_uid != "none":
            assert sources.rir[sample.rir_uid][0] >= min(sample.fs, 44100)
    upsampled = draw(sources, 50, "dump/train", allow_upsampling=True, rates={48000: 1})
    assert {sources.speech[sample.speech_uid][0] for sample in upsampled} == {16000, 44100, 48000}


def test_coverage_meets_every_rate_and_distortion(sources):
    samples = draw(sources, 16, "dump/test", coverage=True)
    assert {sample.fs for sample in samples} == set(RATES)
    names = {name for sample in samples for name in distortion_label(sample).split("+")}
    assert names == {"noise", "wind_noise", "reverberation", *FURTHER_DISTORTIONS}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"coverge": True}, "did you mean 'coverage'"),
        ({"wind": {"snr": [0, 1]}}, "did you mean 'wind.snr_db'"),
        ({"wind": {"probability": 2}}, "0 to 1"),
        ({"noise": {"snr_db": [20, -5]}}, "noise.snr_db"),
        ({"rates": {12000: 1}}, "fs=12000"),
        ({"coverage": "yes"}, "true or false"),
        ({"rates": [16000]}, r"rates: \[16000\]; expected weights"),
        ({"rates": {16000: "x"}}, "rates: 'x'; expected a number"),
        ({"noise": {"snr_db": 5}}, "noise.snr_db: 5; expected a list"),
        ({"codec": {"ogg_encoders": ["aac"]}}, "vorbis, opus"),
    ],
)
def test_wrong_config_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        config_from_dict(values)


@pytest.mark.parametrize("content", [b"noise: [", b"\xe1\x00", b"noise: {snr_db: [9, 1]}"])
def test_a_config_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="mine.yaml: "):
        load_config(path)


def test_default_yaml_is_the_default_config():
    assert load_config(CONFIG) == config_from_dict({})
    with pytest.raises(ConfigError, match="expected keys"):
        config_from_dict([1])


def test_missing_wind_is_said_before_work_starts(sources):
    bare = Sources(**{**vars(sources), "wind": {}})
    with pytest.raises(ListError, match="wind.scp"):
        draw(bare, 3, "dump/train")
    assert len(draw(bare, 3, "dump/train", wind={"probability": 0})) == 3


def test_meta_survives_a_round_trip_and_reads_the_challenges_columns(sources, tmp_path):
    samples = draw(sources, 20, "dump/train")
    write_meta(tmp_path / "meta.tsv", samples)
    assert read_meta(tmp_path / "meta.tsv") == samples
    lines = (tmp_path / "meta.tsv").read_text().splitlines()
    cut = ["\t".join(line.split("\t")[:12]) for line in lines]
    (tmp_path / "theirs.tsv").write_text("\n".join(cut) + "\n")
    theirs = read_meta(tmp_path / "theirs.tsv")
    assert theirs[7].seed == 7 and theirs[7].augmentation == samples[7].augmentation


# --- rendering ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_same_bytes_whatever_the_number_of_jobs_and_the_order(sources, tmp_path):
    sets = [tmp_path / name / "train" for name in ("one", "two", "parts")]
    render(draw(sources, 14, sets[0], coverage=True), sources, sets[0], nj=1)
    render(draw(sources, 14, sets[1], coverage=True), sources, sets[1], nj=2)
    samples = draw(sources, 14, sets[2], coverage=True)
    render(samples[9:], sources, sets[2])
    render(samples, sources, sets[2])
    one = digests(sets[0])
    assert one == digests(sets[1]) == digests(sets[2])
    assert len([name for name in one if name.endswith(".flac")]) == 28
    for sample in draw(sources, 14, sets[0], coverage=True):
        noisy, clean = soundfile.info(sample.noisy_path), soundfile.info(sample.clean_path)
        assert noisy.frames == clean.frames == sample.length
        assert noisy.samplerate == clean.samplerate == sample.fs
        assert noisy.subtype == "PCM_16"


@pytest.mark.slow
def test_killed_render_resumes_without_loss(folder, tmp_path, capsys):
    command = [sys.executable, "-m", "espnet_hybridse.cli.main", "simulate"]
    command += ["--sources", str(folder), "--config", str(CONFIG), "--num", "30"]
    out, whole = tmp_path / "killed" / "train", tmp_path / "whole" / "train"
    parallel = command + ["--nj", "2", "--out", str(out)]
    process = subprocess.Popen(parallel, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(out.glob("noisy/*_*.flac"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)  # returns once no worker holds the pipe any more
    assert not (out / "wav.scp").exists()
    before = len(list(out.glob("noisy/*_*.flac")))
    assert 0 < before < 30
    capsys.readouterr()
    assert main(command[3:] + ["--out", str(out)]) == 0
    assert f"{before} were there already" in capsys.readouterr().out
    assert main(command[3:] + ["--out", str(whole)]) == 0
    assert digests(out) == digests(whole)
    assert len(read_list(out / "wav.scp")) == 30


def test_changed_parameters_are_rendered_again_and_unchanged_ones_kept(sources, tmp_path):
    out = tmp_path / "train"
    render(draw(sources, 4, out), sources, out)
    summary = render(draw(sources, 6, out), sources, out)
    assert (summary.kept, summary.rendered) == (4, 2)
    summary = render(draw(sources, 3, out, seed=5), sources, out)
    assert (summary.kept, summary.rendered) == (0, 3)
    assert len(list((out / "noisy").iterdir())) == len(read_list(out / "wav.scp")) == 3


def test_clean_and_noisy_share_one_gain(sources, tmp_path):
    never = {"probability": 0}
    easy = {"num_distortions": {0: 1}, "wind": never, "reverberation": never}
    samples = draw(sources, 4, tmp_path, noise={"snr_db": [60, 60]}, **easy)
    for sample in samples:
        noisy, clean = simulate(sample, sources)
        assert max(np.abs(noisy).max(), np.abs(clean).max()) == pytest.approx(0.9, abs=1e-4)
        assert np.abs(noisy - clean).max() < 0.01


def test_bad_sources_are_quarantined_and_the_rest_is_rendered(tmp_path, capsys):
    folder = make_sources(tmp_path / "data", 3, num=7)
    fs = 48000
    for index, wav in enumerate(
        [np.full(fs, np.nan), np.zeros(fs), b"OggS", np.zeros(100), None, b"RIFF"]
    ):
        path = folder / f"s3_{index}.wav"
        path.unlink()
        if isinstance(wav, bytes):
            path.write_bytes(wav)
        elif wav is not None:
            soundfile.write(path, wav, fs, subtype="FLOAT")
    lines = (folder / "speech.scp").read_text().replace(" 44100 ", " 48000 ").splitlines()
    lines = [line.replace(" 16000 ", " 48000 ") for line in lines[:6]] + lines[6:]
    (folder / "speech.scp").write_text("\n".join(lines) + "\n")
    arguments = ["simulate", "--sources", str(folder), "--config", str(CONFIG), "--num", "9"]
    out = tmp_path / "dump" / "train"
    assert main(arguments + ["--out", str(out)]) == 0
    assert f"quarantined: {out}/quarantine.tsv says why" in capsys.readouterr().out
    reasons = (out / "quarantine.tsv").read_text()
    for reason in ("NaN", "silent", "unreadable"):
        assert reason in reasons
    drawn = {sample.speech_uid for sample in read_meta(out / "meta.tsv")}
    assert drawn == {"s3_0", "s3_1", "s3_6"}  # headers alone do not show NaN and silence
    assert len(read_list(out / "wav.scp")) == 3


# --- checks ------------------------------------------------------------------------------------


@pytest.fixture
def sets(tmp_path):
    """Two sets of four samples without anything in common."""
    for seed, name in ((11, "train"), (12, "test")):
        sources = Sources.from_folder(make_sources(tmp_path / "data" / name, seed, num=4))
        out = tmp_path / name
        render(draw(sources, 4, out, rates={8000: 1}, min_seconds=0.3), sources, out)
    return tmp_path / "train", tmp_path / "test"


@pytest.mark.slow
def test_clean_sets_pass_and_their_lists_stay(sets, capsys):
    before = [digests(out) for out in sets]
    assert main(["check", *map(str, sets), "--nj", "2"]) == 0
    assert [digests(out) for out in sets] == before
    assert capsys.readouterr().out.count("none") == 2


def test_damaged_duplicate_and_missing_files_leave_the_lists(sets):
    train = sets[0]
    paths = [train / "noisy" / f"train_{index:06d}.flac" for index in range(4)]
    wav, fs = soundfile.read(paths[0])
    soundfile.write(paths[0], wav[:-1], fs)
    paths[1].write_bytes(b"no audio")
    paths[2].unlink()
    (report,) = check_sets([train])
    assert report.kept == 1 and dict(report.faults) == {"noisy": 2, "not rendered": 1}
    for name in ("wav.scp", "spk1.scp", "utt2fs", "utt2spk", "text", "utt2distortion"):
        assert list(read_list(train / name)) == ["train_000003"]
    first = (train / "quarantine.tsv").read_text()
    check_sets([train])
    assert (train / "quarantine.tsv").read_text() == first
    paths[3].unlink()
    assert main(["check", str(train)]) == 1


def test_leaks_are_taken_out_of_the_earlier_set(sets):
    train, test = sets
    samples = read_meta(train / "meta.tsv")
    text = (train / "meta.tsv").read_text().replace(samples[0].speech_sid, "spk12")
    (train / "meta.tsv").write_text(text)
    reports = check_sets([train, test])
    assert [report.kept for report in reports] == [0, 4]
    assert reports[0].faults == {"speaker leak": 4}
    assert check_sets([train, test], allow_leaks=("speaker",))[0].kept == 4
    copied = test / "clean" / "test_000001.flac"
    mine = next(s for s in samples if s.id == "train_000002")
    wav, fs = soundfile.read(copied)
    soundfile.write(mine.clean_path, wav, fs)
    soundfile.write(mine.noisy_path, 0.5 * wav, fs)
    text = text.replace(f"\t{mine.fs}\t{mine.length}\t", f"\t{fs}\t{wav.size}\t")
    (train / "meta.tsv").write_text(text)
    report = check_sets([train, test], allow_leaks=("speaker",))[0]
    assert report.faults == {"audio leak": 1}
    with pytest.raises(ValueError, match="speaker, utterance, noise, audio"):
        check_sets([train], allow_leaks=("voice",))


def test_content_under_another_name_is_a_leak(tmp_path):
    folders = [
        make_sources(tmp_path / "data" / name, seed, num=3)
        for name, seed in (("train", 21), ("test", 22))
    ]
    copied = Path(read_sources(folders[1] / "noise.scp")["n22_1"][1])
    for line in (folders[0] / "noise.scp").read_text().splitlines():
        Path(line.split()[2]).write_bytes(copied.read_bytes())
    for folder in folders:
        command = ["simulate", "--sources", str(folder), "--config", str(CONFIG), "--num", "4"]
        assert main([*command, "--out", str(tmp_path / folder.name)]) == 0
    train, test = check_sets([tmp_path / "train", tmp_path / "test"])
    assert test.kept == 4
    assert train.faults["content leak"] == train.total - train.kept > 0


def test_check_renders_again_and_draws_the_snrs(tmp_path, capsys):
    folder = make_sources(tmp_path / "data", 31, num=3)
    out = tmp_path / "dump" / "train"
    command = ["simulate", "--sources", str(folder), "--config", str(CONFIG), "--num", "5"]
    assert main([*command, "--out", str(out)]) == 0
    assert main(["check", str(out)]) == 0
    text = capsys.readouterr().out
    assert "5 of 5 rows rendered again to the same bytes" in text
    assert "median" in text and "rates " in text
    assert (tmp_path / "dump" / "snr.png").read_bytes()[:4] == b"\x89PNG"
    sample = read_meta(out / "meta.tsv")[0]
    wav, fs = soundfile.read(sample.noisy_path)
    soundfile.write(sample.noisy_path, 0.5 * wav, fs)
    assert main(["check", str(out)]) == 1
    assert "samples differ by up to" in capsys.readouterr().out
    loud = read_meta(out / "meta.tsv")[1]
    soundfile.write(
        loud.clean_path, np.clip(3 * soundfile.read(loud.clean_path)[0], -1, 1), loud.fs
    )
    assert check_sets([out])[0].faults == {"clean": 1}
    assert "clipped" in (out / "quarantine.tsv").read_text()
