"""Registration in stock ESPnet, and its own parser."""

import pytest
from espnet2.tasks import enh
from espnet2.tasks.enh import EnhancementTask

import espnet_hybridse
from espnet_hybridse.plugin import add_choices
from espnet_hybridse.training.task import HybridEnhancementTask

pytestmark = pytest.mark.compat

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
    own = {"max_hours", "anneal", "warmup_share", "batch_per_gpu", "lr_batch", "sqa_checkpoint"}
    own |= {"ema_decay", "ema_share", "save_steps", "save_minutes", "nan_patience"}
    assert ours - stock == own | {"validate_start", "overfit", "profile"} and stock <= ours


def test_wrong_classes_are_refused():
    with pytest.raises(TypeError, match="separator 'mine': dict is not a AbsSeparator"):
        add_choices(enh.separator_choices, {"mine": dict})
    with pytest.raises(ValueError, match="already .*TFGridNetSFI"):
        add_choices(enh.separator_choices, {"tfgridnet_sfi": enh.separator_choices.classes["rnn"]})
