"""A model from its configuration: encoder, separator and decoder, for inference or for a training.

Building needs neither ESPnet's task nor its model class: where only inference is wanted, both would
cost more time and memory than the networks themselves.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType

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
            own = isinstance(found, type) and found.__module__ == module.__name__
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


class SpeechModel(nn.Module):
    """Encoder, separator and decoder, without the losses that trained them.

    Parameters have the names, and :meth:`forward_enhance` the arguments and results, of
    `espnet2.enh.espnet_model.ESPnetEnhancementModel`.
    """

    def __init__(self, encoder: nn.Module, separator: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.separator, self.decoder = encoder, separator, decoder

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
        mixed, lengths = self.encoder(speech_mix, speech_lengths, fs=fs)
        separated, _, others = self.separator(mixed, lengths, additional)
        waves = [self.decoder(spectrum, speech_lengths, fs=fs)[0] for spectrum in separated]
        return waves, mixed, separated, others


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
        parts = build_parts(given, find_class)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{files.config_file}: builds no model ({error})") from error
    return SpeechModel(*parts)
