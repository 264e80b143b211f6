"""`hybridse plan`: values computed by hand, sums, scaling, refusals, a calibration."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from training_runs import write_config

from espnet_hybridse.cli.main import main
from espnet_hybridse.config import read_yaml
from espnet_hybridse.plan.calibration import (
    DERIVED,
    MEASURED,
    PUBLISHED,
    STORED,
    UTILISATION,
    Calibration,
    PartRates,
    derive,
    load,
)
from espnet_hybridse.plan.inputs import PARTS, Options, write_inputs
from espnet_hybridse.plan.network import Counts, count_network, digest_of
from espnet_hybridse.plan.report import too_large
from espnet_hybridse.plan.sheet import Sheet, evaluate
from espnet_hybridse.plan.stages import STAGES, SUMMED, Plan, plan_of
from espnet_hybridse.plan.workload import Workload, read_workload

ROOT = Path(__file__).parents[1]
MIX = {16000: 0.5, 48000: 0.5}
GMAC = {8000: 5.0, 16000: 10.0, 22050: 14.0, 24000: 15.0, 32000: 20.0, 44100: 28.0, 48000: 30.0}


def calibration(**changes):
    """A machine of round numbers: 100 GMAC a second in training, 200 without gradients."""
    parts = {
        "disc": Counts("d", "tfgridnet_sfi", 1_000_000, 0, GMAC),
        "gen": Counts("g", "ar_refiner", 2_000_000, 500_000, GMAC, 4.0, 1_000_000),
        "fusion": Counts("f", "uses_fusion", 250_000, 0, GMAC),
    }
    rates = {name: PartRates(c, 100.0, 0.5, 200.0, 100.0, 2.0) for name, c in parts.items()}
    audio = {"simulate": 50.0, "check": 200.0, "score": 10.0}
    machine = {"device": "a machine", "processor": "a processor"}
    return Calibration(MEASURED, machine, "cuda", 4, rates, audio, **changes)


CONFIGS = {
    "disc": {
        "batch_size": 6,
        "preprocessor_conf": {"chunk_s": 4.0},
        "max_epoch": 10,
        "num_iters_per_epoch": 800,
        "optim": "adamw",
        "ema_decay": 0.999,
        "keep_nbest_models": 5,
    },
    "gen": {"batch_size": 6, "max_epoch": 10, "num_iters_per_epoch": 800, "keep_nbest_models": 5},
    "fusion": {"batch_size": 6, "max_epoch": 10, "keep_nbest_models": 5},
}


def plans(gpus=(1, 8), configs=CONFIGS, workload=None, rates=None, published=None, **options):
    """number of GPUs -> sheet, for the round numbers above."""
    rates, inputs = rates or calibration(), Sheet()
    counts = {name: part.counts for name, part in rates.parts.items()}
    workload = workload or Workload(100_000, 5.0, MIX, "given")
    given = Options(**{"link_gb_s": 100.0, "net_gb_s": 1.0, "cores": 4, **options})
    write_inputs(inputs, workload, given, rates, configs, counts, published)
    return {plan.gpus: plan.sheet for plan in plan_of(inputs, gpus, configs, given)}


def test_a_training_step_is_what_one_computes_by_hand():
    sheet = plans()[1]
    # 6 utterances at 16 kHz, 2 at 48: batches of one rate, so 3 of 4 are at 48 kHz.
    assert sheet["disc.batch.r16000"] == 6 and sheet["disc.batch.r48000"] == 2
    assert sheet["disc.batch.mean"] == pytest.approx(3.0)
    # 3 utterances of 4 s; 20 GMAC a second on average; three times for the backward pass.
    assert sheet["disc.step_work"] == pytest.approx(3 * 4 * 20 * 3)
    assert sheet["disc.step_s"] == pytest.approx(0.5 + 720 / 100)
    assert sheet["disc.steps"] == 8000
    # Validation: 10 epochs of 1000 utterances of 4 s, 20 GMAC each at 200 GMAC a second.
    assert sheet["disc.valid_hours"] == pytest.approx(10 * 1000 * 4 * 0.1 / 3600)
    assert sheet["disc.hours"] == pytest.approx(8000 * 7.7 / 3600 + 40000 * 0.1 / 3600)
    assert sheet["disc.passes_made"] == pytest.approx(8000 * 3 / 100_000)
    # The frozen encoder's 4 GMAC have no backward pass; crops are 3 s by default.
    assert sheet["gen.step_work"] == pytest.approx(3 * 3 * (3 * 20 - 2 * 4))
    # Without num_iters_per_epoch an epoch is the whole set.
    assert sheet["fusion.passes_made"] == pytest.approx(10)


def test_memory_and_disk_of_a_training():
    one, eight = plans().values()
    million = 4e6 / 1e9
    assert one["disc.weights_gb"] == pytest.approx(million)
    assert one["gen.weights_gb"] == pytest.approx(2.5 * million)
    assert one["disc.optimiser_gb"] == pytest.approx(2 * million)
    # 60 GMAC in a second of either rate's batch, 4 s: 100 MB and 2 MB a GMAC.
    assert one["disc.activations_gb"] == pytest.approx((100 + 2 * 240) / 1000)
    # Weights, gradients, two moments, an average.
    assert one["disc.memory_gb"] == pytest.approx(5 * million + 0.58)
    # Gradients once more in the buckets of distributed training.
    assert eight["disc.memory_gb"] == pytest.approx(6 * million + 0.58)
    assert one["disc.checkpoint_gb"] == pytest.approx(4 * million)
    assert one["disc.disk_gb"] == pytest.approx((4 * 4 + 8) * million)


def test_network_of_a_ring():
    sheets = plans(gpus=(1, 2, 8, 64))
    gradients = 4e6 / 1e9
    assert sheets[1]["disc.net_gb"] == 0
    assert sheets[2]["disc.net_gb"] == pytest.approx(gradients)
    assert sheets[8]["disc.net_gb"] == pytest.approx(2 * 7 / 8 * gradients)
    # Within a machine over its links, beyond it over the slower network.
    assert sheets[8]["disc.net_s"] == pytest.approx(sheets[8]["disc.net_gb"] / 100)
    assert sheets[64]["disc.net_s"] == pytest.approx(sheets[64]["disc.net_gb"] / 1)


def test_data_stages_are_what_one_computes_by_hand():
    sheet = plans()[1]
    # 102 000 utterances of 5 s, on four cores.
    assert sheet["simulate.core_hours"] == pytest.approx(102_000 * 5 / 50 / 3600)
    assert sheet["simulate.hours"] == pytest.approx(sheet["simulate.core_hours"] / 4)
    assert sheet["score.core_hours"] == pytest.approx(4 * 1000 * 5 / 10 / 3600)
    file_mb = 5 * 32_000 * 2 * 0.65 / 1e6
    assert sheet["data.file_mb"] == pytest.approx(file_mb)
    assert sheet["simulate.disk_gb"] == pytest.approx(102_000 * (2 * file_mb / 1e3 + 1e-6))
    assert sheet["simulate.files"] == 2 * 102_000 + 30
    # 20.8 GB of training audio each for noisy and clean speech; one archive for the small sets.
    assert sheet["simulate.archived"] == 2 * (21 + 1 + 1) + 30
    assert sheet["disc.read_mb_s"] == pytest.approx(2 * 3 * file_mb / 7.7)
    # Stage 7: 10 000 training and all validation utterances through both branches.
    assert sheet["branches.gpu_hours"] == pytest.approx(11_000 * 5 * (0.1 + 0.1) / 3600)


def test_sums_add_up():
    for sheet in plans(gpus=(1, 8, 64)).values():
        for name in SUMMED:
            parts = [f"{stage}.{name}" for stage in STAGES]
            if name == "archived":
                parts = [key if key in sheet else key.replace("archived", "files") for key in parts]
            expected = sum(sheet[key] for key in parts if key in sheet)
            assert sheet[f"total.{name}"] == pytest.approx(expected)
        memory = [sheet[f"{part}.memory_gb"] for part in PARTS]
        assert sheet["total.memory_gb"] == max(memory)


def test_more_gpus_make_fewer_steps_over_the_same_audio():
    one, eight = plans(link_gb_s=1e9).values()
    assert eight["disc.steps"] == one["disc.steps"] / 8
    for key in ("disc.passes_made", "simulate.core_hours", "total.disk_gb", "total.files"):
        assert eight[key] == pytest.approx(one[key])
    # All but the gradients' way is shared out; with it a GPU hour costs more.
    assert eight["total.gpu_hours"] == pytest.approx(one["total.gpu_hours"], rel=1e-6)
    assert eight["total.hours"] == pytest.approx(one["total.hours"] / 8, rel=1e-6)
    slow = plans(link_gb_s=0.01)[8]
    assert slow["total.gpu_hours"] > 1.02 * eight["total.gpu_hours"]


def test_a_batch_of_all_gpus_is_cut_as_the_sampler_cuts_it():
    sheets = plans(gpus=(1, 8, 64), batch="all")
    assert [sheets[n]["disc.batch.r16000"] for n in sheets] == [6, 1, 1]
    assert [sheets[n]["disc.steps"] for n in sheets] == [8000] * 3
    # 64 utterances are in a step although the config says 6: none may be without one.
    assert sheets[64]["disc.passes_made"] == pytest.approx(8000 * 64 / 100_000)


def test_hours_and_passes_instead_of_epochs():
    sheet = plans(hours=10.0)[8]
    assert sheet["disc.steps"] * sheet["disc.step_s"] == pytest.approx(36_000)
    for number, sheet in plans(passes=3.0).items():
        assert sheet["disc.passes_made"] == pytest.approx(3)
        assert sheet["disc.steps"] == pytest.approx(300_000 / 3 / number)
    with pytest.raises(ValueError, match="--hours and --passes both"):
        Options(hours=1.0, passes=1.0)


def test_decoded_history_costs_time():
    config = {**CONFIGS["gen"], "separator_conf": {"free_running_prob": 0.5}}
    configs = {**CONFIGS, "gen": config}
    with_it, without = plans(configs=configs)[1], plans()[1]
    # Half of the batches of 3 x 3 s, at 0.1 s a second.
    assert with_it["gen.step_s"] - without["gen.step_s"] == pytest.approx(0.5 * 9 * 0.1)


def test_derived_speeds_say_so_and_follow_the_assumption():
    like = calibration()
    made = derive(PUBLISHED["h100"], like, {"disc": "bfloat16"})
    assert made.kind == DERIVED
    expected = UTILISATION["bfloat16"] * 989e3 / 2
    assert made.parts["disc"].train_gmac_s == pytest.approx(expected)
    half = derive(PUBLISHED["h100"], like, {"disc": "bfloat16"}, 0.5)
    assert half.parts["disc"].train_gmac_s == pytest.approx(0.5 * 989e3 / 2)
    sheet = plans(rates=made, published=PUBLISHED["h100"])[1]
    for key in ("disc.train_gmac_s", "gen.infer_gmac_s", "machine.read_gb_s"):
        assert "DERIVED, not measured" in sheet.figure(key).source
        assert "ASSUMED" in sheet.figure(key).source
    # Decoding reads a million float32 weights 50 times a second, for eight pieces at once.
    reading = 50 * 4e6 / 8 / (3350e9 * UTILISATION["float32"])
    expected = 20 / made.parts["gen"].infer_gmac_s + reading
    assert sheet["gen.infer_s_s"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="--utilisation 2.0: expected a share"):
        derive(PUBLISHED["h100"], like, {}, 2.0)


def test_what_does_not_fit_into_a_gpu_is_said():
    sheet = plans()[8]
    needed = sheet["disc.memory_gb"]
    plan = Plan(8, sheet)
    assert too_large(plan, calibration(memory_gb=1.01 * needed)) == []
    [line] = too_large(plan, calibration(memory_gb=0.99 * needed))
    assert line.startswith("disc: 0.604 GB do not fit into a GPU's 0.598")
    assert too_large(plan, calibration()) == []


def test_formulas_are_arithmetic_and_nothing_else():
    values = {"a.b": 3.0, "c": 4.0}
    assert evaluate("max(a.b, -c) * 2 + ceil(1 / c)", values.__getitem__) == 7
    for text in ("open('x')", "a.b.__class__()", "[1]", "'x'", "2 ** 9"):
        with pytest.raises(ValueError, match="is no arithmetic"):
            evaluate(text, values.__getitem__)


def test_a_workload_is_read_from_lists_and_folders(rendered, tmp_path):
    folder = read_workload(rendered / "dump/raw/train")
    files = read_workload(rendered / "dump/raw/train/wav.scp")
    assert folder.num == files.num == 8 and set(folder.mix) <= {8000, 16000, 22050}
    assert folder.mean_s == pytest.approx(files.mean_s) and folder.mix == files.mix
    sources = read_workload(rendered / "data/train/speech.scp")
    assert sources.num == 3 and sources.mix == {16000: 1.0}
    broken = tmp_path / "wav.scp"
    lines = (rendered / "dump/raw/train/wav.scp").read_text()
    broken.write_text(lines + "none /not/there.wav\n")
    found = read_workload(broken)
    assert found.num == 9 and "1 unreadable" in found.source
    assert found.mean_s == pytest.approx(folder.mean_s)


@pytest.fixture(scope="module")
def tiny(wavlm_dir, tmp_path_factory):
    """Options that name three tiny configs."""
    folder = tmp_path_factory.mktemp("plan")
    disc = write_config(folder / "disc.yaml", criterions=L1)
    conf = {"channels": 8, "n_blocks": 1, "hidden": 8, "n_head": 2, "segment": 16, "n_memory": 2}
    sizes = {"vocab_size": 20, "lm_layers": 2, "lm_dim": 32, "lm_heads": 2, "lm_ffn": 64}
    sizes.update(channels=8, downs=2, blocks=1, hidden=8, heads=2)
    sizes.update(semantic="wavlm", semantic_conf={"model": str(wavlm_dir)})
    grid = {"n_fft": 1920, "hop_length": 960, "default_fs": 48000}
    write_config(folder / "fusion.yaml", separator="uses_fusion", separator_conf=conf)
    changes = {"encoder_conf": grid, "decoder_conf": grid, "criterions": NLL}
    write_config(folder / "gen.yaml", separator="ar_refiner", separator_conf=sizes, **changes)
    for name in ("fusion", "gen"):  # write_config adds the sizes of another network
        config = yaml.safe_load((folder / f"{name}.yaml").read_text())
        config["separator_conf"] = conf if name == "fusion" else sizes
        config["criterions"] = NLL if name == "gen" else L1
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    assert disc.is_file()
    return folder, [word for part in PARTS for word in (f"--{part}", f"{folder}/{part}.yaml")]


FIXED = {"conf": {}, "wrapper": "fixed_order", "wrapper_conf": {"weight": 1.0}}
L1 = [{"name": "l1_masked", **FIXED}]
NLL = [{"name": "regression", **FIXED}, {"name": "token_nll", **FIXED}]
SIZE = ["--num_utts", "1000", "--mean_s", "5"]


@pytest.fixture(scope="module")
def calibrated(tiny):
    """A plan whose speeds were measured here: the calibration's file and the plan's JSON."""
    folder, configs = tiny
    given = ["--calibrate", "--calibration", f"{folder}/machine.json", "--limit_s", "4"]
    given += ["--device", "cpu", "--metrics", "SI-SDR", "--json", f"{folder}/first.json"]
    assert main(["plan", *configs, *SIZE, *given]) == 0
    return folder / "machine.json", json.loads((folder / "first.json").read_text())


def test_a_calibration_measures_every_rate(calibrated):
    made = load(calibrated[0])
    assert made.kind == MEASURED and set(made.parts) == set(PARTS)
    for part in made.parts.values():
        assert part.train_gmac_s > 0 and part.infer_gmac_s > 0 and part.overhead_s >= 0
        assert part.activation_mb + part.activation_mb_per_gmac > 0
    assert made.parts["gen"].counts.frozen > 0 < made.parts["gen"].counts.lm_parameters
    assert set(made.audio_s_core_s) == {"simulate", "check", "score"}
    assert min(made.audio_s_core_s.values()) > 0


def test_a_calibration_is_used_again(calibrated, tiny, tmp_path, capsys):
    file, first = calibrated
    given = ["--calibration", str(file), "--json", f"{tmp_path}/plan.json"]
    assert main(["plan", *tiny[1], *SIZE, *given]) == 0
    again = json.loads((tmp_path / "plan.json").read_text())
    assert again["gpus"] == first["gpus"] and again["figures"] == first["figures"]
    text = capsys.readouterr().out
    assert "speeds: measured on cpu" in text and "## 64 GPUs" in text
    for figure in again["gpus"]["8"]["figures"]:
        assert f"{figure['key']} = " in text
        if figure["formula"]:
            assert f"= {figure['formula']}\n" in text


def test_every_number_can_be_computed_again_from_the_file(calibrated):
    _, plan = calibrated
    for numbers in plan["gpus"].values():
        figures = {row["key"]: row for row in plan["figures"] + numbers["figures"]}
        assert len(figures) > 150
        for row in figures.values():
            if row["formula"] is None:
                assert row["source"], row
                continue
            for key, value in row["inputs"].items():
                assert figures[key]["value"] == value
            assert evaluate(row["formula"], row["inputs"].__getitem__) == row["value"]


def test_counts_grow_with_the_rate_and_know_what_is_frozen(tiny):
    config = yaml.safe_load((tiny[0] / "disc.yaml").read_text())
    counts = count_network(config)
    assert counts.frozen == counts.lm_parameters == 0
    values = list(counts.gmac_s.values())
    assert values == sorted(values) and values[-1] > 4 * values[0]
    assert Counts.from_dict(json.loads(json.dumps(counts.as_dict()))) == counts


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "how much data?"),
        (["--num_utts", "0", "--mean_s", "5"], "--num_utts 0: expected a number above 0"),
        ([*SIZE, "--fs_mix", "16k=1"], "--fs_mix 16k=1: expected RATE=SHARE"),
        ([*SIZE, "--fs_mix", "11025=1"], r"\[11025\]; accepted rates in Hz: 8000"),
        ([*SIZE, "--gpus", "0"], "--gpus .0.: expected numbers above 0"),
        ([*SIZE, "--data", "none.scp"], "none.scp: no such list"),
        ([*SIZE, "--num_fusion", "2000"], "--num_fusion 2000 of 1000 training utterances"),
        ([*SIZE, "--hours", "1", "--passes", "1"], "--hours and --passes both"),
        ([*SIZE, "--utilisation", "0.1"], "--utilisation is the assumption of --machine"),
        ([*SIZE, "--calibration", "none.json"], "none.json: no such calibration"),
        (
            [*SIZE, "--machine", "h100", "--calibrate"],
            "--machine is for speeds that nobody measured",
        ),
    ],
)
def test_wrong_options_are_explained(calibrated, tiny, options, message, capsys):
    given = [*tiny[1], "--calibration", str(calibrated[0]), *options]
    assert main(["plan", *given]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_configs_in_each_other_s_place_are_refused(calibrated, tiny, tmp_path, capsys):
    folder, _ = tiny
    speeds = [*SIZE, "--calibration", str(calibrated[0])]
    assert main(["plan", "--disc", f"{folder}/gen.yaml", *speeds]) == 2
    assert "separator 'ar_refiner', which is not that of the disc" in capsys.readouterr().err
    assert main(["plan", "--gen", f"{folder}/disc.yaml", *speeds]) == 2
    assert "expected ar_refiner" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text('{"format": 0}')
    assert main(["plan", *tiny[1], *SIZE, "--calibration", f"{tmp_path}/bad.json"]) == 2
    assert "no calibration of this version" in capsys.readouterr().err
    assert main(["plan", "--preset", "huge", *speeds]) == 2
    assert "--preset huge is not one of fast, mini, paper" in capsys.readouterr().err
    assert main(["plan", *tiny[1], *SIZE]) == 2
    assert "--calibrate measures this machine" in capsys.readouterr().err


def page_commands():
    """The page's commands that measure nothing."""
    page = (ROOT / "docs/plan.md").read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["hybridse", "plan"] and "--calibrate" not in words:
                yield words[1:]


@pytest.mark.parametrize("words", page_commands(), ids=shlex.join)
def test_the_page_s_commands_run(words, rendered, calibrated, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "machine.json").write_bytes(calibrated[0].read_bytes())
    (tmp_path / "dump").symlink_to(rendered / "dump")
    known = {part.counts.digest for part in load(STORED).parts.values()}
    wanted = {digest_of(read_yaml(ROOT / f"conf/paper/train_{part}.yaml")) for part in PARTS}
    assert wanted <= known, f"{STORED} is of other networks: 'hybridse plan --calibrate' again"
    assert main(words) == 0
    text = capsys.readouterr().out
    assert ("ASSUMED" in text) == ("--machine" in words)
    assert ("disc.step_s = " in text) != ("--brief" in words)
