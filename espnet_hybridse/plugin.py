"""Every network, loss and preprocessor of this package, by the names that ESPnet gives them."""

import importlib
from collections.abc import Mapping

from espnet_hybridse.model.build import espnet_class

SEPARATORS = {
    "tfgridnet_sfi": "espnet_hybridse.discriminative.tfgridnet_sfi:TFGridNetSFI",
    "tfgridnet_bands": "espnet_hybridse.discriminative.tfgridnet_bands:TFGridNetBands",
    "ar_refiner": "espnet_hybridse.generative.ar_refiner:ARRefiner",
    "bsrnn_flow": "espnet_hybridse.generative.flow_bsrnn:FlowBSRNN",
    "uses_fusion": "espnet_hybridse.fusion.uses_fusion:USESFusion",
}
CRITERIONS = {
    "compressed": "espnet_hybridse.losses.compressed:CompressedSpectrumLoss",
    "mr_stft": "espnet_hybridse.losses.mr_stft:MultiResolutionSTFTLoss",
    "l1_masked": "espnet_hybridse.losses.time_l1:TimeL1",
    "pmsqe": "espnet_hybridse.losses.pmsqe:PMSQE",
    "estoi": "espnet_hybridse.losses.estoi:ESTOILoss",
    "regression": "espnet_hybridse.losses.regression:RegressionLoss",
    "sqa": "espnet_hybridse.sqa.loss:SQALoss",
    "token_nll": "espnet_hybridse.losses.token_nll:TokenNLL",
}
PREPROCESSORS = {
    "hybridse": "espnet_hybridse.data.preprocessor:HybridPreprocessor",
    "urgent_dynamic": "espnet_hybridse.data.dynamic:UrgentDynamicPreprocessor",
}
TABLES = {
    "encoder": {"sfi_stft": "espnet_hybridse.nn.sfi_stft:SFIEncoder"},
    "separator": SEPARATORS,
    "decoder": {"sfi_stft": "espnet_hybridse.nn.sfi_stft:SFIDecoder"},
    "criterion": CRITERIONS,
    "preprocessor": PREPROCESSORS,
}
"""Places instead of classes: who enhances needs one network, not all of them and their losses."""
STANDS_FOR = {("encoder", "stft"): "sfi_stft", ("decoder", "stft"): "sfi_stft"}
"""Names of ESPnet's for which ours is taken wherever this package builds a model: it gives the same
bits of whole frames, and importing it does not take seconds."""


def find_class(kind: str, name: str) -> type:
    """Return one class of this package, or else ESPnet's, without importing any other.

    Args:
        kind: "encoder", "separator", "decoder", "criterion" or "preprocessor".
        name: in a configuration.

    Raises:
        ValueError: neither knows the name.
    """
    place = TABLES.get(kind, {}).get(STANDS_FOR.get((kind, name), name))
    return espnet_class(kind, name) if place is None else load(place)


def load(place: str) -> type:
    """Import "module:class"."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def register() -> None:
    """Add encoder, decoder, separators, criterions and preprocessors to `espnet2.tasks.enh`.

    Calling it again changes nothing.

    Raises:
        TypeError: a class is not of the type ESPnet's table holds.
        ValueError: the name already belongs to another class.
    """
    from espnet2.tasks import enh

    for kind, places in TABLES.items():
        classes = {name: load(place) for name, place in places.items()}
        add_choices(getattr(enh, f"{kind}_choices"), classes)


def add_choices(choices, classes: Mapping[str, type]) -> None:
    """Add `classes` to one of ESPnet's ClassChoices, which checks types only when it is made."""
    for name, cls in classes.items():
        if choices.base_type is not None and not issubclass(cls, choices.base_type):
            raise TypeError(
                f"{choices.name} {name!r}: {cls.__name__} is not a {choices.base_type.__name__}"
            )
        present = choices.classes.setdefault(name, cls)
        if present is not cls:
            raise ValueError(
                f"{choices.name} {name!r} is already {present.__module__}.{present.__name__}"
            )
