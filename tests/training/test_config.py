"""A training YAML is checked before anything is built."""

import re

import pytest
import yaml
from espnet2.utils.get_default_kwargs import get_default_kwargs

from espnet_hybridse.fileio.yaml_config import ConfigError
from espnet_hybridse.plugin import find_class
from espnet_hybridse.training.config import check_train_config

CRITERION = {"name": "mr_stft", "wrapper": "fixed_order", "wrapper_conf": {"weight": 1.0}}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"criterions": None}, "criterions: expected a list"),
        ({"criterions": [{"name": "mr_stft"}]}, "lacks wrapper, wrapper_conf"),
        ({"criterions": [{**CRITERION, "wrapper": "fixed"}]}, "did you mean 'fixed_order'"),
        ({"criterions": [{**CRITERION, "wrapper_conf": {"wait": 1}}]}, "unknown key 'wait'"),
        ({"criterions": [{**CRITERION, "conf": {"log_wieght": 1}}]}, "'log_weight'"),
        ({"separator_conf": 5}, "separator_conf: expected 'key: value' lines, got 5"),
        ({"separator": "tfgridnet_fsi"}, "did you mean 'tfgridnet_sfi'"),
        ({"optim": "adamw", "optim_conf": {"rl": 0.1}}, "optim_conf: unknown key 'rl'"),
        ({"scheduler": "warmuplr", "scheduler_conf": {"steps": 1}}, "unknown key 'steps'"),
        ({"max_epochs": 3}, "did you mean 'max_epoch'"),
        ({"criterions": [{**CRITERION, "name": "mrstft"}]}, "did you mean 'mr_stft'"),
        (
            {"separator": "tfgridnet_sfi", "separator_conf": {"emb_dimm": 3}},
            "separator_conf: unknown key 'emb_dimm'; did you mean 'emb_dim'",
        ),
    ],
)
def test_wrong_values_are_named(tmp_path, changes, message):
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump({"criterions": [CRITERION], **changes}))
    with pytest.raises(ConfigError, match=message):
        check_train_config(path)


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("- a list")
    with pytest.raises(ConfigError, match="expected 'key: value' lines"):
        check_train_config(path)


@pytest.mark.parametrize("preset", ["small", "mini", "fast", "paper"])
@pytest.mark.parametrize("model", ["disc", "gen", "fusion"])
def test_presets_pass(request, preset, model):
    check_train_config(request.config.rootpath / "conf" / preset / f"train_{model}.yaml")


NO_RESULT = {"amp_dtype", "activation_checkpointing", "decode_dtype", "feature_cache"}
NO_RESULT |= {"feature_cache_gb", "name", "only_for_test"}
"""Options that change speed and memory, or names."""
GIVEN = {
    "n_srcs",
    "n_imics",
    "disc",
    "gen",
    "gen_fs",
    "safety_to",
    "network",
    "max_share",
    "hear_s",
}
GIVEN |= {"top_k", "top_p", "seed"}
"""What the task itself gives, and options of what the paper preset has switched off."""
PAPER = ["disc", "gen", "gen_free_running", "fusion"]


@pytest.mark.parametrize("model", PAPER)
def test_the_paper_preset_holds_every_value_that_decides_the_result(request, model):
    path = request.config.rootpath / f"conf/paper/train_{model}.yaml"
    config = yaml.safe_load(path.read_text())
    parts = [("separator", config["separator"], config["separator_conf"])]
    parts += [("criterion", term["name"], term["conf"]) for term in config["criterions"]]
    for kind, name, conf in parts:
        known = get_default_kwargs(find_class(kind, name)).keys()
        assert known - conf.keys() <= NO_RESULT | GIVEN, name


@pytest.mark.parametrize("name", [*(f"train_{model}" for model in PAPER), "simulation"])
def test_every_value_of_the_paper_preset_says_whose_it_is(request, name):
    text = (request.config.rootpath / f"conf/paper/{name}.yaml").read_text()
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        # A line that only opens a block has no value of its own.
        if value and not key.startswith("#"):
            marked = re.search(r"# (paper|ours|TF-GridNet|challenge)", value)
            assert marked, line


def test_the_two_generative_files_of_the_paper_differ_in_one_value(request):
    one, other = (
        yaml.safe_load((request.config.rootpath / f"conf/paper/{name}.yaml").read_text())
        for name in ("train_gen", "train_gen_free_running")
    )
    share = other["separator_conf"].pop("free_running_prob")
    assert one["separator_conf"].pop("free_running_prob") == 0.0 < share
    assert one == other
