"""Checkpoints of the URGENT 2026 baseline, as PyTorch Lightning wrote them, read as models of ours.

They hold the weights under names of their own, the state of the optimiser, and a settings object of
the baseline's code. Nothing of that code is run: the object's class is replaced by an empty one.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".ckpt"
PREFIXES = {"se_model.bsrnn.": "bsrnn", "dnn.": "bsrnn_flow"}
"""Beginnings of the weights' names -> separator; others belong to losses."""
LOSSES = ("mr_l1_loss.", "sisnr_loss.")
SETTINGS = "baseline_code.config.Config"
FLOW_DEFAULTS = {
    "n_fft": 1536,
    "hop_length": 384,
    "spec_transform_type": "exponent",
    "spec_abs_exponent": 0.667,
    "spec_factor": 0.065,
    "T_rev": 1.0,
    "t_eps": 0.03,
    "sigma_max": 0.5,
}
"""Of the baseline's configuration, for files that lack it."""


class Settings:
    """What takes the place of the baseline's settings class: an object with attributes."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything in it; tensors stay on disk until they are used.

    Raises:
        ValueError: the file is damaged, wants code to be run, or is no checkpoint of the baseline.
    """
    import torch

    try:
        with torch.serialization.safe_globals([(Settings, SETTINGS)]):
            whole = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # damaged files raise many types
        problem = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: no checkpoint of the URGENT baseline, or a damaged one; nothing in it was "
            f"executed ({problem})"
        ) from error
    state = whole.get("state_dict") if isinstance(whole, dict) else None
    if not isinstance(state, dict) or separator_of(state) is None:
        raise ValueError(
            f"{path}: no checkpoint of the URGENT baseline: expected weights called "
            f"{' or '.join(f'{prefix}*' for prefix in PREFIXES)} in its state_dict"
        )
    return whole


def separator_of(state: dict[str, "Tensor"]) -> str | None:
    """Return the separator that weights of these names belong to."""
    for prefix, separator in PREFIXES.items():
        if any(name.startswith(prefix) for name in state):
            return separator
    return None


def published_config(path: Path) -> dict[str, Any]:
    """Return the configuration of the model in a checkpoint.

    Sizes are those of the weights; the rest stands in the file's settings, or is the baseline's.

    Raises:
        ValueError: as of :func:`read_checkpoint`.
    """
    whole = read_checkpoint(path)
    weights = published_weights(path, whole)
    if separator_of(whole["state_dict"]) == "bsrnn":
        grid = {"n_fft": 960, "hop_length": 480, "default_fs": 48000}
        separator, inner = "bsrnn", "separator.bsrnn."
        conf = {"num_spk": 1, "target_fs": 48000, "causal": False}
        channels = weights[f"{inner}band_split.fc.0.weight"].shape[0]
    else:
        given = vars((whole.get("hyper_parameters") or {}).get("cfg") or Settings())
        setting = {name: given.get(name, value) for name, value in FLOW_DEFAULTS.items()}
        names = ("n_fft", "hop_length", "spec_transform_type", "spec_abs_exponent", "spec_factor")
        grid = {**{name: setting[name] for name in names}, "default_fs": 48000}
        separator, inner = "bsrnn_flow", "separator."
        conf = {"start": setting["T_rev"], "end": setting["t_eps"], "sigma": setting["sigma_max"]}
        channels = weights["separator.condition_fc.weight"].shape[0]
    layers = sum(name.startswith(f"{inner}fc_time.") for name in weights) // 2
    return {
        "encoder": "sfi_stft",
        "encoder_conf": grid,
        "separator": separator,
        "separator_conf": {**conf, "num_channels": channels, "num_layers": layers},
        "decoder": "sfi_stft",
        "decoder_conf": dict(grid),
        "preprocessor": None,
        "preprocessor_conf": {},
        "criterions": [],
        "model_conf": {},
        "init": None,
    }


def published_weights(path: Path, whole: dict[str, Any] | None = None) -> dict[str, "Tensor"]:
    """Return the weights of a checkpoint under our names; their moving average, if there is one.

    Raises:
        ValueError: as of :func:`read_checkpoint`; or the average is not that of these weights.
    """
    whole = whole or read_checkpoint(path)
    state = {k: v for k, v in whole["state_dict"].items() if not k.startswith(LOSSES)}
    average = (whole.get("ema") or {}).get("shadow_params")
    if average is not None:
        # Kept without names, in the order of the parameters.
        names = list(state)
        if len(average) != len(names):
            names = [name for name in names if not name.endswith(".W")]  # never trained
        if [tuple(v.shape) for v in average] != [tuple(state[name].shape) for name in names]:
            raise ValueError(f"{path}: its moving average does not fit its weights")
        state.update(zip(names, average, strict=True))
    return {
        "separator." + name.removeprefix("se_model.bsrnn.").removeprefix("dnn."): value
        for name, value in state.items()
    }
