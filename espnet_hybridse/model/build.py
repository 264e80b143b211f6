"""A model from its configuration: encoder, separator and decoder, for inference or for a training.

Building needs neither ESPnet's task nor its model class: where only inference is wanted, both would
cost more time and memory than the networks themselves.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from espnet_hybridse.model.files import ModelFiles, check_keys

FindClass = Callable[[str, str], type]
"""("encoder" | "separator" | "decoder", name in the configuration) -> class."""
BUILT_FROM = ("encoder", "encoder_conf", "separator", "separator_conf", "decoder", "decoder_conf")
TAKES_FS = ("TFGridNetV3", "BSRNNSeparator", "USESSeparator")
"""Separators that ESPnet runs at any rate; all others belong to the one they were trained at."""


def espnet_class(kind: str, name: str) -> type:
    """Return the class that ESPnet knows as `name`: of its tables, or of the module so called.

    Raises:
        ValueError: ESPnet knows no such name.
    """
    # Names that somebody added stand in the tables alone; to add one, they must be imported.
    if "espnet2.tasks.enh" not in sys.modules:
        module = _module(f"espnet2.enh.{kind}.{name}_{kind}")
        for found in vars(module).values() if module else ():
            # The module also holds what it imports: espnet2.layers.stft.Stft is no encoder.
            own = isinstance(found, type) and module and found.__module__ == module.__name__
            if own and found.__name__.lower() in (name, name + kind):
                return found
    from espnet2.tasks import enh

    choices = getattr(enh, f"{kind}_choices")
    if name not in choices.classes:
        raise ValueError(
            f"{kind} {name!r} is not one of {', '.join(choices.classes)}; names of a plugin are "
            "known once its register() was called"
        )
    return choices.get_class(name)


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise


def build_parts(
    config: Mapping, find_class: FindClass = espnet_class
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Build encoder, separator and decoder with random weights.

    Raises:
        ValueError: a name that nobody knows, or a separator of several speakers.
    """
    encoder = find_class("encoder", config["encoder"])(**config["encoder_conf"])
    separator = find_class("separator", config["separator"])(
        encoder.output_dim, **config["separator_conf"]
    )
    if separator.num_spk != 1:
        raise ValueError(
            f"separator: {config['separator']} gives {separator.num_spk} signals, but enhancement "
            "has one; set separator_conf: {num_spk: 1} (n_srcs: 1 for tfgridnet*)"
        )
    decoder = find_class("decoder", config["decoder"])(**config["decoder_conf"])
    return encoder, separator, decoder


def own_rate(config: Mapping, encoder: nn.Module, separator: nn.Module) -> int | None:
    """Return the only rate in Hz that a separator works at; None where it takes any.

    Layers of most separators have as many inputs as their encoder gives bins at one rate.
    """
    if any(cls.__name__ in TAKES_FS for cls in type(separator).__mro__):
        return None
    if (config.get("model_conf") or {}).get("always_forward_in_48k"):
        return 48000
    return getattr(encoder, "default_fs", None)


class HasParts(Protocol):
    """A model with an encoder, a separator and a decoder of its own rate, see :func:`own_rate`."""

    encoder: Any
    separator: Any
    decoder: Any
    own_fs: int | None


def enhanced(
    model: HasParts, wave: Tensor, lengths: Tensor, additional: dict | None, fs: int | None
) -> tuple[list[Tensor], Tensor, list[Tensor], dict]:
    """Run the parts of a model one after the other, at its own rate if it has one.

    Args:
        model: its parts.
        wave: (B, T) at `fs` Hz.
        lengths: (B,) samples, on any device.
        additional: for the separator.
        fs: rate in Hz; None stands for the one that the model was made for.

    Returns:
        [(B, T)] enhanced, its input and output spectra, and what else the separator gives.
    """
    own_fs = model.own_fs
    if fs is not None and own_fs is not None and fs != own_fs:
        moved, inside = resampled(wave, fs, own_fs), -(-lengths * own_fs // fs)
        done = enhanced(model, moved, inside, additional, own_fs)
        return [resampled(part, own_fs, fs)[:, : wave.shape[1]] for part in done[0]], *done[1:]
    if not getattr(model.encoder, "lengths_on_cpu", False):
        lengths = lengths.to(wave.device)
    mixed, frames = model.encoder(wave, lengths, fs=fs)
    if not getattr(model.separator, "lengths_on_cpu", False):
        frames = frames.to(wave.device)
    separated, _, others = model.separator(mixed, frames, additional)
    waves = [model.decoder(spectrum, lengths, fs=fs)[0] for spectrum in separated]
    return waves, mixed, separated, others


def resampled(wave: Tensor, fs: int, target_fs: int) -> Tensor:
    """Return (B, T) at another rate, band-limited to 94 % of the lower one; with gradients."""
    from torchaudio.functional import resample

    return resample(
        wave,
        fs,
        target_fs,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )


class SpeechModel(nn.Module):
    """Encoder, separator and decoder, without the losses that trained them.

    Parameters have the names, and :meth:`forward_enhance` the arguments and results, of
    `espnet2.enh.espnet_model.ESPnetEnhancementModel`.

    Args:
        encoder, separator, decoder: the parts.
        own_fs: the only rate in Hz that they work at, see :func:`own_rate`.
        normalise: bring every waveform to a standard deviation of 1 and back, as models that were
            trained with ESPnet's `normalize_variance` expect.
    """

    # Of classes that are not known here: torch's modules of any kind.
    encoder: Any
    separator: Any
    decoder: Any

    def __init__(
        self,
        encoder: nn.Module,
        separator: nn.Module,
        decoder: nn.Module,
        own_fs: int | None = None,
        normalise: bool = False,
    ):
        super().__init__()
        self.encoder, self.separator, self.decoder = encoder, separator, decoder
        self.own_fs, self.normalise = own_fs, normalise

    def forward_enhance(
        self,
        speech_mix: Tensor,
        speech_lengths: Tensor,
        additional: dict | None = None,
        fs: int | None = None,
    ) -> tuple[list[Tensor], Tensor, list[Tensor], dict]:
        """Enhance a batch of one rate.

        Args:
            speech_mix: (B, T) degraded speech.
            speech_lengths: (B,) samples.
            additional: for the separator.
            fs: rate in Hz.

        Returns:
            [(B, T)] enhanced, its input and output spectra, and what else the separator gives.
        """
        if not self.normalise:
            return enhanced(self, speech_mix, speech_lengths, additional, fs)
        level = deviation(speech_mix, speech_lengths)
        done = enhanced(self, speech_mix / level, speech_lengths, additional, fs)
        return [wave * level for wave in done[0]], *done[1:]


def deviation(wave: Tensor, lengths: Tensor) -> Tensor:
    """Return the standard deviation (B, 1) of the valid samples of (B, T); 1 in silence."""
    valid = torch.arange(wave.shape[1], device=wave.device) < lengths.to(wave.device)[:, None]
    count = valid.sum(1, keepdim=True)
    mean = (wave * valid).sum(1, keepdim=True) / count
    power = ((wave - mean) * valid).square().sum(1, keepdim=True) / (count - 1).clamp_min(1)
    return torch.where(power > 0, power, 1.0).sqrt()


def build_model(files: ModelFiles, config: Mapping, find_class: FindClass) -> SpeechModel:
    """Build the model of `files` with random weights.

    Args:
        files: of the model, for messages.
        config: that of the files, with what stands for its branches in their place.
        find_class: names to classes.

    Raises:
        ValueError: the configuration lacks what a model is built from, or builds none.
    """
    check_keys(config, BUILT_FROM, files.config_file)
    given = {key: config[key] for key in BUILT_FROM}
    # ESPnet writes null where nothing was given.
    given.update({key: given[key] or {} for key in BUILT_FROM if key.endswith("_conf")})
    try:
        encoder, separator, decoder = build_parts(given, find_class)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{files.config_file}: builds no model ({error})") from error
    model_conf = config.get("model_conf") or {}
    normalise = any(model_conf.get(f"normalize_variance{end}") for end in ("", "_per_ch"))
    own_fs = own_rate(config, encoder, separator)
    return SpeechModel(encoder, separator, decoder, own_fs, normalise)
