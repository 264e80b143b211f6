"""Names of this package in ESPnet's own tables of choices."""

from typing import Dict

from espnet2.tasks import enh
from espnet2.train.class_choices import ClassChoices

from espnet_hybridse.data.dynamic import UrgentDynamicPreprocessor
from espnet_hybridse.data.preprocessor import HybridPreprocessor
from espnet_hybridse.discriminative.tfgridnet_bands import TFGridNetBands
from espnet_hybridse.discriminative.tfgridnet_sfi import TFGridNetSFI
from espnet_hybridse.fusion.uses_fusion import USESFusion
from espnet_hybridse.generative.ar_refiner import ARRefiner
from espnet_hybridse.losses.compressed import CompressedSpectrumLoss
from espnet_hybridse.losses.estoi import ESTOILoss
from espnet_hybridse.losses.mr_stft import MultiResolutionSTFTLoss
from espnet_hybridse.losses.pmsqe import PMSQE
from espnet_hybridse.losses.regression import RegressionLoss
from espnet_hybridse.losses.time_l1 import TimeL1
from espnet_hybridse.losses.token_nll import TokenNLL
from espnet_hybridse.sqa.loss import SQALoss

PREPROCESSORS = {"hybridse": HybridPreprocessor, "urgent_dynamic": UrgentDynamicPreprocessor}


def register() -> None:
    """Add the separators, criterions and preprocessors to `espnet2.tasks.enh`.

    Calling it again changes nothing.

    Raises:
        TypeError: a class is not of the type ESPnet's table holds.
        ValueError: the name already belongs to another class.
    """
    add_choices(
        enh.separator_choices,
        {
            "tfgridnet_sfi": TFGridNetSFI,
            "tfgridnet_bands": TFGridNetBands,
            "ar_refiner": ARRefiner,
            "uses_fusion": USESFusion,
        },
    )
    add_choices(
        enh.criterion_choices,
        {
            "compressed": CompressedSpectrumLoss,
            "mr_stft": MultiResolutionSTFTLoss,
            "l1_masked": TimeL1,
            "pmsqe": PMSQE,
            "estoi": ESTOILoss,
            "regression": RegressionLoss,
            "sqa": SQALoss,
            "token_nll": TokenNLL,
        },
    )
    add_choices(enh.preprocessor_choices, PREPROCESSORS)


def add_choices(choices: ClassChoices, classes: Dict[str, type]) -> None:
    """Add `classes` to one table. ESPnet checks types only when it builds the table itself."""
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
