"""Intelligibility term: 1 - ESTOI (Jensen and Taal 2016), by torch_stoi."""

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss

from espnet_hybridse.losses.batch_info import (
    BatchInfo,
    float_wave,
    resample_valid,
    without_autocast,
)

STOI_FS = 10000
"""ESTOI is defined at 10 kHz."""

MIN_SECONDS = 0.45
"""ESTOI compares segments of 384 ms; shorter speech gives no value."""


class ESTOILoss(TimeDomainLoss, BatchInfo):
    """1 - ESTOI of each utterance.

    Not in the paper: our choice for models too small to reach intelligibility through spectral
    losses, which reward them for silencing weak speech. Needs `pip install torch-stoi`.

    Raises:
        ValueError: torch_stoi is not installed.
    """

    def __init__(self, name: str = "estoi", only_for_test: bool = False):
        super().__init__(name, only_for_test=only_for_test)
        self._network = None

    @property
    def network(self) -> torch.nn.Module:
        """torch_stoi's module, imported when first used: inference does not need it."""
        if self._network is None:
            try:
                from torch_stoi import NegSTOILoss
            except ImportError as error:
                raise ValueError(
                    "criterion estoi needs torch_stoi: pip install torch-stoi, or take the "
                    "criterion out of the config"
                ) from error
            self._network = NegSTOILoss(STOI_FS, use_vad=True, extended=True, do_resample=False)
        return self._network

    def forward(self, ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
        """Clean reference (B, T) and estimate (B, T) -> loss (B,); 0 for too short utterances."""
        ilens = self.batch_lengths(ref, inf)
        network = self.network.to(ref.device)
        ref, _ = resample_valid(float_wave(ref), ilens, self.fs, STOI_FS)
        inf, lengths = resample_valid(float_wave(inf), ilens, self.fs, STOI_FS)
        losses = []
        for reference, estimate, length in zip(ref, inf, lengths.tolist(), strict=True):
            if length < MIN_SECONDS * STOI_FS:
                losses.append(0.0 * estimate.sum())
            else:
                with without_autocast(ref):
                    losses.append(1.0 + network(estimate[:length], reference[:length]))
        return torch.stack([loss.reshape(()) for loss in losses])
