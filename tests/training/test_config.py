"""A training YAML is checked before anything is built."""

import pytest
import yaml

from espnet_hybridse.fileio.yaml_config import ConfigError
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
