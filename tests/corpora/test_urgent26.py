"""The challenge's recipe on a miniature of its corpora, and on folders of its own scripts."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from helpers.simulation_sources import make_sources, voice
from helpers.tiny_models import DISC, FUSION, GEN
from helpers.urgent26_corpora import make_corpora, write_db

from espnet_hybridse.cli.main import main
from espnet_hybridse.corpora.urgent26.__main__ import parser, run
from espnet_hybridse.corpora.urgent26.challenge import language_of
from espnet_hybridse.corpora.urgent26.corpus import Corpus
from espnet_hybridse.corpora.urgent26.corpus_table import BY_NAME, CORPORA
from espnet_hybridse.corpora.urgent26.splits import eighths, share_out
from espnet_hybridse.corpora.urgent26.survey import effective_rate, survey
from espnet_hybridse.fileio.audio import RATES, resample
from espnet_hybridse.fileio.lists import ListError, read_list, read_sources
from espnet_hybridse.simulation.sources import Sources

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs/urgent26/enh1"
SIZES = {"disc": DISC, "gen": GEN, "fusion": FUSION}


def recipe(script, *arguments):
    """Run a script of the recipe with this interpreter's packages; installs nothing."""
    bin_dir = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "HYBRIDSE_INSTALL": "false",
        "PATH": f"{bin_dir}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    command = ["bash", str(RECIPE / script), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Every corpus in its own layout."""
    return make_corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="module")
def conf(tmp_path_factory, wavlm_dir):
    """conf/paper with tiny networks and one step an epoch."""
    folder = tmp_path_factory.mktemp("conf")
    shutil.copy(ROOT / "conf/paper/simulation.yaml", folder)
    for name, sizes in SIZES.items():
        config = yaml.safe_load((ROOT / f"conf/paper/train_{name}.yaml").read_text())
        config["separator_conf"].update(sizes)
        config.update(max_epoch=1, num_iters_per_epoch=1, num_workers=0, batch_per_gpu=2)
        config.update(use_matplotlib=False, use_tensorboard=False)
        config["preprocessor_conf"]["chunk_s"] = 0.5
        if name == "gen":
            config["separator_conf"]["semantic_conf"]["model"] = wavlm_dir
        (folder / f"train_{name}.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def prepared(corpora, conf, xcodec_dir, tmp_path_factory):
    """What `run.sh --stage 1 --stop_stage 4` leaves, and what it printed."""
    out = tmp_path_factory.mktemp("urgent26")
    options = {
        "db": write_db(corpora, out / "db.sh"),
        "conf": conf,
        "datadir": out / "data",
        "audiodir": out / "audio",
        "dumpdir": out / "dump",
        "expdir": out / "exp",
        "token_model": xcodec_dir,
        "sqa": "dnsmos",  # the published network would be fetched
        "num_train": 4,
        "num_valid": 2,
        "num_test": 2,
        "num_fusion": 2,
        "ngpu": 0,
        "nj": 1,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = recipe("run.sh", "--stage", 1, "--stop_stage", 4, *words)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out, words, done.stdout


# --- from the corpora ---------------------------------------------------------------------------


@pytest.mark.slow
def test_every_corpus_is_listed_with_its_labels(prepared):
    out, _, printed = prepared
    data = out / "data"
    train = {name: read_list(data / "train" / name) for name in ("text", "utt2lang", "utt2spk")}
    speech = read_sources(data / "train/speech.scp")
    assert set(speech) == set(train["utt2lang"]) == set(train["utt2spk"])
    labels = {
        "84_121123_000017_000000": ("eng", "libritts_84", "Go on."),
        "p225_001_mic2": ("eng", "vctk_p225", "Please call Stella."),
        "p001_rainbow_01_regular": ("eng", "ears_p001", "When the sunlight"),
        "mls_german_10_5_000001": ("deu", "mls_german_10", "die Katze"),
        "mls_french_10_5_000001": ("fra", "mls_french_10", "le chat"),
        "common_voice_de_17300550": ("deu", "cv_detrainclient", 'One "word"'),
        "common_voice_zh-CN_17300550": ("zho", "cv_zhtrainclient", 'One "word"'),
        "Elderly0122S0000W0026": ("zho", "seniortalk_Elderly0122S0000", "吃饭了吗"),
        "esd_0001_000351": ("zho", "esd_0001", "打远一看 Angry"),
        "esd_0011_000352": ("eng", "esd_0011", "The nine Happy"),
    }
    for uid, (lang, speaker, text) in labels.items():
        found = (train["utt2lang"][uid], train["utt2spk"][uid], train["text"][uid])
        assert found == (lang, speaker, text)
    silent = {"vocalset_male1_m1_scales__belt__e", "nnces_read_M5_10_M5_10_02"}
    assert silent <= set(speech) and not silent & set(train["text"])
    assert not any("vegetative" in uid for uid in speech)
    noise = read_sources(data / "train/noise.scp")
    assert {uid.split("_")[0] for uid in noise} == {"dns5", "wham", "fsd50k", "fma"}
    assert "fsd50k_2" not in noise, "a human voice is no noise"
    rirs = read_sources(data / "train/rir.scp")
    assert len(rirs) == 2 and all(uid.startswith("largeroom-Room") for uid in rirs)
    assert "16 corpora of these stages used, 0 left out" in printed


@pytest.mark.slow
def test_sets_follow_the_challenge_and_share_nobody(prepared):
    data = prepared[0] / "data"
    speakers = {
        name: set(read_list(data / name / "utt2spk").values())
        for name in ("train", "valid", "test")
    }
    assert {"vctk_p226", "ears_p100", "libritts_1272", "cv_dedevclient"} <= speakers["valid"]
    assert {"vctk_p232", "ears_p102", "libritts_61", "seniortalk_Elderly0122S0002"} <= speakers[
        "test"
    ]
    for kind in ("speech", "noise", "wind", "rir"):
        uids = [set(read_sources(data / name / f"{kind}.scp")) for name in speakers]
        assert sum(map(len, uids)) == len(set.union(*uids))
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values()))
    rooms = [
        {uid.rsplit("-", 1)[0] for uid in read_sources(data / name / "rir.scp")}
        for name in speakers
    ]
    assert sum(map(len, rooms)) == len(set.union(*rooms))


@pytest.mark.slow
def test_bad_files_are_named_counted_and_left_out(prepared):
    out, _, printed = prepared
    reasons = (out / "data/quarantine.tsv").read_text()
    for uid, reason in (
        ("book_00001_chp_0009_reader_06709_7_seg_0_seg1", "unreadable"),
        ("common_voice_es_1", "missing"),
        ("nnces_spontaneous_M5_10_M5_10_01", "too short"),
    ):
        line = next(line for line in reasons.splitlines() if line.startswith(uid + "\t"))
        assert reason in line
    assert "3 quarantined" in printed


@pytest.mark.slow
def test_two_channels_become_one_for_speech_and_stay_for_noise(prepared):
    data = prepared[0] / "data/train"
    child = read_sources(data / "speech.scp")["nnces_read_M5_10_M5_10_02"][1]
    assert soundfile.info(child).channels == 1
    wham = read_sources(data / "noise.scp")["wham_Train1"][1]
    assert soundfile.info(wham).channels == 2
    assert wham.endswith("high_res_wham/audio/Train1.wav")


@pytest.mark.slow
def test_stages_2_to_4_leave_sets_and_tokens(prepared):
    out = prepared[0]
    for name, count in (("train", 4), ("valid", 2), ("test", 2)):
        wavs = read_list(out / f"dump/raw/{name}/wav.scp")
        assert len(wavs) == count
        assert all(Path(path).is_file() for path in wavs.values())
    tokens = read_list(out / "dump/tokens_paper/train/text_int")
    clean = read_list(out / "dump/raw/train/spk1.scp")
    assert tokens.keys() == clean.keys()
    manifest = yaml.safe_load((out / "dump/tokens_paper/train/manifest.json").read_text())
    assert (manifest["backend"], manifest["vocab_size"]) == ("xcodec", 1024)


@pytest.mark.slow
def test_one_step_of_each_training(prepared):
    out, words, _ = prepared
    done = recipe("run.sh", "--stage", 5, "--stop_stage", 6, *words)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for name in ("train", "valid"):  # the noisy audio stands for what stage 7 would make
        for branch in ("disc", "gen"):
            folder = out / f"dump/branches_paper/{branch}/{name}"
            folder.mkdir(parents=True)
            shutil.copy(out / f"dump/raw/{name}/wav.scp", folder / "spk1.scp")
    done = recipe("run.sh", "--stage", 8, "--stop_stage", 8, *words)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for branch in ("disc", "gen", "hybrid"):
        assert (out / f"exp/{branch}_paper/1epoch.pth").is_file()


# --- stage 1 by itself --------------------------------------------------------------------------


def prepare(folder, *arguments, **folders):
    """Stage 1 in this process."""
    given = [word for name, path in folders.items() for word in ("--folder", f"{name}={path}")]
    places = ["--data", str(folder / "data"), "--audio", str(folder / "audio"), "--nj", "1"]
    run(parser().parse_args([*places, *map(str, arguments), *given]))
    return folder / "data/corpora"


def test_selection_lists_are_those_of_the_challenge(corpora, tmp_path, capsys):
    train, valid = tmp_path / "train_urgent2026", tmp_path / "validation_selected"
    train.write_text("p225_001_mic1\n84_121123_000017_000000\n")
    valid.write_text("p226_001_mic2\n")
    folders = {name: corpora.folders[name] for name in ("VCTK", "VOCALSET")}
    options = ["--stop_stage", 9, "--selection", train, "--valid_selection", valid]
    lists = prepare(tmp_path, *options, **folders)
    assert set(read_list(lists / "vctk/train/speech.scp")) == {"p225_001_mic1"}
    assert set(read_list(lists / "vctk/valid/speech.scp")) == {"p226_001_mic2"}
    assert len(read_list(lists / "vctk/test/speech.scp")) == 2
    assert len(read_list(lists / "vocalset/train/speech.scp")) == 2, "the challenge keeps all of it"
    printed = capsys.readouterr().out
    assert "2 not selected" in printed and "every utterance is taken" not in printed
    prepare(tmp_path, *options, **folders)
    assert "done already" in capsys.readouterr().out
    with pytest.raises(ListError, match="no such selection list; it is published at https"):
        prepare(tmp_path, "--selection", tmp_path / "none", **folders)


@pytest.mark.slow
def test_a_missing_corpus_is_left_out_with_instructions(corpora, tmp_path, capsys):
    folders = {name: corpora.folders[name] for name in ("LIBRITTS", "WHAM", "RIRS")}
    prepare(tmp_path, "--num_wind", 3, EARS="", **folders)
    printed = capsys.readouterr().out
    assert "3 corpora of these stages used, 12 left out" in printed
    [wind] = read_sources(tmp_path / "data/train/wind.scp").values()
    assert soundfile.info(wind[1]).samplerate == wind[0], "wind is made where there is none"
    assert "left out, EARS is empty in db.sh" in printed and "CC BY-NC 4.0" in printed
    assert "No --selection: every utterance is taken" in printed
    assert len(read_list(tmp_path / "data/train/speech.scp")) == 1


def test_a_wrong_folder_stops_before_the_start(corpora, tmp_path):
    vctk, wrong = corpora.folders["VCTK"], corpora.folders["WHAM"]
    with pytest.raises(ValueError, match="(?s)LIBRITTS=.*: found no train-clean-.*openslr.org/60"):
        prepare(tmp_path, VCTK=vctk, LIBRITTS=wrong)
    with pytest.raises(ValueError, match="ESD=/nowhere: no such folder"):
        prepare(tmp_path, VCTK=vctk, ESD="/nowhere")
    assert not (tmp_path / "data").exists()
    with pytest.raises(ListError, match="not prepared yet: vctk"):
        prepare(tmp_path, "--stage", 17, VCTK=vctk)
    with pytest.raises(ListError, match="no noise for train: none of vctk"):
        prepare(tmp_path, VCTK=vctk, WIND=corpora.folders["WIND"], RIRS=corpora.folders["RIRS"])
    with pytest.raises(ListError, match="no noise for train: db.sh names no corpus"):
        prepare(tmp_path / "none")
    assert not list((tmp_path / "none").rglob("*.wav")), "no wind or room is made for nothing"
    with pytest.raises(ValueError, match="expected NAME=DIR with DNS5_SPEECH"):
        prepare(tmp_path, LIBRI=vctk)


def test_a_killed_survey_goes_on_and_sees_a_repaired_file(corpora, tmp_path):
    corpus, root = BY_NAME["dns5_speech"], tmp_path / "dns5"
    shutil.copytree(corpora.folders["DNS5_SPEECH"], root)
    folder, audio = tmp_path / "lists", tmp_path / "audio"
    with ThreadPoolExecutor(1) as pool:
        items = list(corpus.reader(root))
        first = list(survey(corpus, items, folder, audio, pool))
        [bad] = [finding for finding in first if finding.fault]
        kept = folder / "findings.jsonl"
        lines = kept.read_text().splitlines()
        lines[0] = lines[0].replace('"fs": 48000', '"fs": 44100')
        kept.write_text("\n".join(lines)[:-20])  # a kill within the last line
        shutil.copy(items[0].path, bad.source)
        again = list(survey(corpus, items, folder, audio, pool))
    assert again[0].fs == 44100, "what was found before was looked for again"
    assert not any(finding.fault for finding in again)
    assert [finding.uid for finding in again] == [item.uid for item in items]


@pytest.mark.parametrize("band", RATES)
def test_files_are_lowered_to_the_rate_that_they_fill(band):
    rng = np.random.default_rng(0)
    narrow = (0.3 * rng.standard_normal(band)).astype(np.float32)
    assert effective_rate(resample(narrow, band, 48000), 48000) == band
    assert effective_rate(narrow, band) == band


def test_a_band_limited_file_is_copied_at_its_own_rate(tmp_path):
    corpus, root = BY_NAME["dns5_speech"], tmp_path / "dns5"
    root.mkdir()
    wav = resample(resample(voice(1.0, 48000), 48000, 16000), 16000, 48000)
    soundfile.write(root / "book_0_chp_0_reader_1_0.wav", wav, 48000)
    with ThreadPoolExecutor(1) as pool:
        items = list(corpus.reader(root))
        [finding] = survey(corpus, items, tmp_path / "lists", tmp_path / "audio", pool)
    info = soundfile.info(finding.path)
    assert finding.fs == info.samplerate < 48000 and finding.frames == info.frames
    assert Path(finding.path).is_relative_to(tmp_path / "audio")


def test_small_corpora_are_shared_out_too():
    assert set(share_out("ab", 90, 90).values()) == {"train"}
    parts = share_out(map(str, range(2000)), 90, 90)
    assert [list(parts.values()).count(name) for name in ("valid", "test")] == [90, 90]
    parts = eighths(f"{number:03d}" for number in range(80))
    assert [list(parts.values()).count(name) for name in ("valid", "test")] == [5, 5]
    assert parts["000"] == "valid" and parts["079"] == "train"


def test_a_corpus_refuses_nonsense():
    good = {name: getattr(CORPORA[0], name) for name in Corpus.__dataclass_fields__}
    for name, value, words in (
        ("name", "DNS 5", "small letters"),
        ("variable", "dns5", "capitals"),
        ("kind", "music", "accepted: speech, noise, wind, rir"),
        ("licence", "", "are all needed"),
    ):
        with pytest.raises(ValueError, match=words):
            Corpus(**{**good, name: value})


@pytest.mark.slow
def test_db_sh_and_the_help_name_every_corpus():
    db = (RECIPE / "db.sh").read_text()
    listed = recipe("local/data.sh", "--list", "true", "--db", RECIPE / "db.sh").stdout
    helped = recipe("local/data.sh", "--help").stdout
    for number, corpus in enumerate(CORPORA, 1):
        assert f"\n{corpus.variable}=" in db
        assert f"{number} {corpus.variable}" in helped
        assert f"stage {number}: {corpus.title}: {corpus.url}" in listed
        assert f"licence {corpus.licence}; {corpus.size}" in listed
    for option in ("--db", "--selection", "--challenge_dir", "--conf", "(1300000, 2200, 1000)"):
        assert option in recipe("run.sh", "--help").stdout


def test_paper_configurations_mark_every_value():
    for name in SIZES:
        text = (ROOT / f"conf/paper/train_{name}.yaml").read_text()
        for line in text.splitlines():
            value = line.partition("#")[0].rstrip()
            if value and not value.endswith(":"):
                mark = line.partition("# ")[2]
                assert mark.startswith(("paper", "ours", "TF-GridNet")), f"{name}: {line}"


# --- from the challenge's own folders -----------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """The challenge's checkout after its scripts ran: lists with paths relative to it."""
    root = tmp_path / "checkout"
    made = make_sources(root / "downloads/made", 5, num=4)
    theirs = root / "data/train_sources"
    theirs.mkdir(parents=True)
    names = {"speech": "speech_sources", "noise": "noise_scoures", "wind": "wind_noise_scoures"}
    for ours, name in {**names, "rir": "rirs"}.items():
        text = (made / f"{ours}.scp").read_text().replace(f"{root}/", "./")
        (theirs / f"{name}.scp").write_text(text)
    for noise in made.glob("n5_*.wav"):  # WHAM! has two channels
        wav, fs = soundfile.read(noise)
        soundfile.write(noise, np.stack([wav, wav], axis=1), fs)
    uids = list(read_sources(made / "speech.scp"))
    (theirs / "utt2spk").write_text("".join(f"{uid} {uid}\n" for uid in uids))
    (theirs / "text").touch()
    for ours, name, log in (
        ("train", "train_simulation", "simulation_train"),
        ("valid", "validation", "simulation_validation"),
    ):
        # One rendering of ours stands for theirs, under their names and paths.
        source = made if ours == "train" else make_sources(root / "downloads/valid", 9, num=4)
        out = root / log
        assert main(["simulate", "--sources", str(source), "--out", str(out), "--num", "3"]) == 0
        folder = root / "data" / name
        folder.mkdir()
        for listed in ("wav.scp", "spk1.scp", "utt2fs", "utt2spk", "text", "speech_length.scp"):
            text = (out / listed).read_text() if (out / listed).is_file() else ""
            (folder / listed).write_text(text.replace(f"{root}/", ""))
        (out / "log").mkdir()
        text = (out / "meta.tsv").read_text().replace(f"{root}/", "")
        (out / "log/meta.tsv").write_text(text)
    return root


def test_their_train_sources_are_read_where_they_lie(checkout, tmp_path):
    run(parser().parse_args(["--challenge_dir", str(checkout), "--data", str(tmp_path / "train")]))
    sources = Sources.from_folder(tmp_path / "train")
    assert sources.wind and sources.rir and not sources.text
    assert all(Path(path).is_file() for _, path in sources.speech.values())
    assert not list((tmp_path / "train").glob("**/*.wav")), "audio was copied"
    out = tmp_path / "set"
    command = ["simulate", "--sources", str(tmp_path / "train"), "--out", str(out), "--num", "6"]
    assert main(command) == 0
    assert len(read_list(out / "wav.scp")) == 6
    with pytest.raises(ListError, match="run 'bash utils/prepare_train_data.sh'"):
        run(parser().parse_args(["--challenge_dir", str(tmp_path)]))


@pytest.mark.slow
def test_their_simulated_sets_go_through_the_recipe_by_lists(checkout, tmp_path):
    clean = next(iter(read_list(checkout / "data/validation/spk1.scp").values()))
    (checkout / clean).unlink()
    dump, places = tmp_path / "dump", []
    for name in ("data", "dump", "exp"):
        places += [f"--{name}dir", tmp_path / name]
    options = ["--challenge_dir", checkout, "--ngpu", 0, "--nj", 1, *places]
    done = recipe("run.sh", "--stage", 1, "--stop_stage", 3, *options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "stages 9 to 11 take the challenge's validation set" in done.stdout
    assert not list(dump.rglob("*.flac")), "audio was copied or rendered"
    train = read_list(dump / "raw/train/wav.scp")
    assert len(train) == 3 and all(path.startswith(str(checkout)) for path in train.values())
    assert len(read_list(dump / "raw/valid/spk1.scp")) == 2
    assert "missing" in (dump / "raw/valid/quarantine.tsv").read_text()
    assert not (dump / "raw/test").exists()
    refused = recipe("run.sh", "--challenge_dir", tmp_path)
    assert refused.returncode == 2 and "made data/validation" in refused.stderr


def test_a_set_of_lists_alone_is_enough(checkout, tmp_path):
    folder, out = tmp_path / "blind", tmp_path / "set"
    folder.mkdir()
    for name in ("wav.scp", "spk1.scp"):
        table = read_list(checkout / "data/validation" / name)
        lines = [f"{uid} {checkout / path}\n" for uid, path in table.items()]
        (folder / name).write_text("".join(lines))
    arguments = ["--simulated", "test", "--set_dir", str(folder), "--data", str(out)]
    run(parser().parse_args(arguments))
    for uid, path in read_list(out / "wav.scp").items():
        info = soundfile.info(path)
        assert int(read_list(out / "utt2fs")[uid]) == info.samplerate
        assert int(read_list(out / "speech_length.scp")[uid]) == info.frames
    assert main(["check", str(out)]) == 0


@pytest.mark.parametrize(
    ("uid", "lang"),
    [
        ("mls_german_10870_10823_000002", "deu"),
        ("common_voice_es_19", "spa"),
        ("common_voice_zh-CN_19", "zho"),
        ("Elderly0122S0001W0026", "zho"),
        ("0001_000351", "zho"),
        ("0011_000351", "eng"),
        ("251_118436_000010_000001", "eng"),
        ("p226_044_mic1", "eng"),
    ],
)
def test_languages_of_their_utterances(uid, lang):
    assert language_of(uid) == lang
