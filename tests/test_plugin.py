"""Registration in stock ESPnet, and its own parser."""

import pytest
from espnet2.tasks import enh
from espnet2.tasks.enh import EnhancementTask

import espnet_hybridse
from espnet_hybridse.config import ConfigError, check_train_config
from espnet_hybridse.plugin import add_choices
from espnet_hybridse.task import HybridEnhancementTask

NAMES = {
    "separator": ("tfgridnet_sfi", "ar_refiner", "uses_fusion"),
    "preprocessor": ("hybridse",),
}


def test_stock_parser_accepts_our_names():
    espnet_hybridse.register()
    before = dict(enh.separator_choices.classes)
    espnet_hybridse.register()
    assert enh.separator_choices.classes == before
    parser = EnhancementTask.get_parser()
    for option, names in NAMES.items():
        for name in names:
            args = parser.parse_args(["--output_dir", "exp", f"--{option}", name])
            assert getattr(args, option) == name
    assert {"mr_stft", "l1_masked", "pmsqe", "regression", "sqa"} <= set(
        enh.criterion_choices.classes
    )


def test_our_parser_keeps_every_stock_option():
    stock = {action.dest for action in EnhancementTask.get_parser()._actions}
    ours = {action.dest for action in HybridEnhancementTask.get_parser()._actions}
    assert ours - stock == {"max_hours"} and stock <= ours


def test_wrong_classes_are_refused():
    with pytest.raises(TypeError, match="separator 'mine': dict is not a AbsSeparator"):
        add_choices(enh.separator_choices, {"mine": dict})
    with pytest.raises(ValueError, match="already .*TFGridNetSFI"):
        add_choices(enh.separator_choices, {"tfgridnet_sfi": enh.separator_choices.classes["rnn"]})


@pytest.mark.parametrize(
    "text, words",
    [
        ("seperator: tfgridnet_sfi", "unknown key 'seperator'; did you mean 'separator'"),
        ("separator: tfgridnet_sfy", "unknown key 'tfgridnet_sfy'; did you mean 'tfgridnet_sfi'"),
        (
            "separator: tfgridnet_sfi\nseparator_conf: {emb_dimm: 3}",
            "separator_conf: unknown key 'emb_dimm'; did you mean 'emb_dim'",
        ),
        ("criterions: [{name: mrstft}]", "unknown key 'mrstft'; did you mean 'mr_stft'"),
        ("- a list", "expected 'key: value' lines"),
    ],
)
def test_unknown_keys_name_the_nearest(tmp_path, text, words):
    config = tmp_path / "train.yaml"
    config.write_text(text)
    with pytest.raises(ConfigError, match=words):
        check_train_config(config)


def test_presets_are_accepted():
    from pathlib import Path

    presets = sorted(Path(__file__).parents[1].glob("conf/*/train_*.yaml"))
    assert presets
    for preset in presets:
        check_train_config(preset)
