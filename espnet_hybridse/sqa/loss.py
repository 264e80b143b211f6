"""Speech-quality-assessment loss, the last term of eq. (4)."""

import logging
from pathlib import Path

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss

from espnet_hybridse.losses.batch_info import (
    BatchInfo,
    float_wave,
    resample_valid,
    resampled_lengths,
    without_autocast,
)
from espnet_hybridse.sqa.backends import MODEL_ID, OFF, PACKAGED
from espnet_hybridse.sqa.checkpoint import find_checkpoint
from espnet_hybridse.sqa.guards import GradientShare, disturb
from espnet_hybridse.sqa.network import UniVersaExt
from espnet_hybridse.sqa.packaged import DnsmosHeads


class SQALoss(TimeDomainLoss, BatchInfo):
    """What quality networks find wanting: 0 when every predicted score is the best.

    The paper does not give its weighting; this is ours: each head from 0 (best) to 1 (worst), all
    equal. The network is frozen and in eval mode, and it stands outside the module tree: neither
    optimizer nor checkpoint sees it. The gradient passes through it, the normalisation and the
    resampler to the waveform. Utterances of equal length are scored together, unpadded, because
    the networks listen over time and padding would change the scores.

    Two back ends:

    - the published network of the paper (`MODEL_ID`), or a file of its kind: the loss is the mean
      over its heads of (5 - score) / 4;
    - `dnsmos`: DNSMOS P.835 and DNSMOS Pro, which need no download. They are small, and easily
      fooled where the estimate is free; use them for the fusion, whose bounded mask between two
      branches leaves little room, and beside signal terms. Guards are on: the loss is what a score
      lacks to that of the clean reference (no reward beyond it), both heard in the same random
      part and after the same random gain, low-pass and noise in training, and the gradient at the
      waveform stays below `max_share` of that of the other terms. Judge by metrics that are in no
      loss.

    Without a checkpoint the loss is off: it returns zeros, and a warning in the log says so.

    Args:
        checkpoint: `dnsmos`, `model.pt`, the folder that holds it, or a Hugging Face id
            (`MODEL_ID`, read from the local cache or fetched); null or `none` switches the loss
            off.
        network: keyword arguments of UniVersaExt, for another size than the published one; null
            takes those that the file holds under `network`, if it does.
        every: compute the term in every n-th training step only, n times as heavy, and in every
            validation step; in the steps between it is 0. A share of its cost for the same
            expected gradient, as long as neither gradient clipping nor `max_share` cuts the
            heavier steps.
        guarded: with the guards above; null is: of `dnsmos` only.
        max_share: of the other terms' gradient norm, where guarded.
        hear_s: seconds of each utterance that are heard in a training step, another part each
            time, where guarded. The cost is in proportion.

    Raises:
        AssetMissing: `dnsmos` without its package of weights.
        FileNotFoundError: the checkpoint is neither on disk nor to be had.
        ValueError: the file is not such a checkpoint; the message names the keys.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        network: dict | None = None,
        every: int = 1,
        guarded: bool | None = None,
        max_share: float = 0.1,
        hear_s: float = 1.5,
        name: str = "sqa",
        only_for_test: bool = False,
    ):
        super().__init__(name, only_for_test=only_for_test)
        if every < 1:
            raise ValueError(f"every={every} must be at least 1")
        for option, value in (("max_share", max_share), ("hear_s", hear_s)):
            if not value > 0:
                raise ValueError(f"{option}={value} must be above 0")
        self.every, self.steps = every, 0
        self.guarded = checkpoint == PACKAGED if guarded is None else guarded
        self.share, self.heard = GradientShare(max_share), round(hear_s * 16000)
        # A list hides the network from parameters(), state_dict(), train() and to().
        self._networks: list[UniVersaExt | DnsmosHeads] = []
        self._device = torch.device("cpu")
        if checkpoint in (None, OFF):
            logging.warning(
                "the SQA loss is off: training without a quality network, which is not the "
                "paper's equation (4); to "
                f"switch it on: --sqa_checkpoint {PACKAGED}, or hf download {MODEL_ID} and then "
                f"--sqa_checkpoint {MODEL_ID}"
            )
            return
        self._networks.append(load_network(checkpoint, network).requires_grad_(False).eval())

    @property
    def enabled(self) -> bool:
        """Whether a checkpoint was given; false means that `forward` returns zeros."""
        return bool(self._networks)

    def forward(self, ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
        """Reference and estimate (B, T) at `self.fs` -> loss (B,).

        Unguarded, `ref` gives only the shape.
        """
        self.batch_lengths(ref, inf)
        ilens = self.host_lengths(inf)
        if not self.enabled:
            return inf.sum(1) * 0.0
        weight = 1.0
        if self.every > 1 and inf.requires_grad:
            self.steps += 1
            if self.steps % self.every:
                return inf.sum(1) * 0.0
            weight = float(self.every)
        if self.guarded:
            return weight * self.shortfall(ref, self.share(inf), ilens)
        network = self._networks[0]
        reached = network.quality(self.scores(inf, ilens)) * network.shares
        return weight * (1.0 - reached.sum(1))

    def shortfall(self, ref: torch.Tensor, inf: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
        """What the estimate (B, T) lacks to its reference's quality, in shares of the range (B,).

        In training both are disturbed alike before they are heard.
        """
        disturbed = inf.requires_grad
        network = self._networks[0]
        both = self._prepare(torch.cat([ref.to(inf.dtype), inf]), ilens.repeat(2))
        lack = both.new_zeros(len(ref))
        with without_autocast(both):
            for length, rows in self._rows_by_length(ilens, inf.device):
                part = both[torch.cat([rows, rows + len(ref)]), :length]
                if disturbed:
                    part = disturb(part, 2, self.heard)
                clean, mine = part.chunk(2)
                with torch.no_grad():
                    best = network.quality(network(clean))
                missing = (best - network.quality(network(mine))).relu() * network.shares
                lack = lack.index_copy(0, rows, missing.sum(1).to(lack.dtype))
        return lack

    def scores(self, wav: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
        """Scores (B, heads) from 1 to 5 of (B, T) at `self.fs` with its valid samples (B,)."""
        network = self._networks[0]
        rows_by_length = self._rows_by_length(ilens, wav.device)
        wav = self._prepare(wav, ilens)
        scores = wav.new_zeros(wav.shape[0], len(network.heads))
        with without_autocast(wav):
            for length, rows in rows_by_length:
                part = network(wav[rows, :length]).to(wav.dtype)
                scores = scores.index_copy(0, rows, part)
        return scores

    def _rows_by_length(
        self, ilens: torch.Tensor, device: torch.device
    ) -> list[tuple[int, torch.Tensor]]:
        """Samples at 16 kHz and the rows of a batch that have so many, on its device."""
        lengths = resampled_lengths(ilens.cpu(), self.fs)
        rows = [(length, (lengths == length).nonzero()[:, 0]) for length in set(lengths.tolist())]
        return [(length, found.to(device, non_blocking=True)) for length, found in sorted(rows)]

    def _prepare(self, wav: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
        """(B, T) at `self.fs` -> at 16 kHz, and the network on its device."""
        if self._device != wav.device:
            self._networks[0].to(wav.device)
            self._device = wav.device
        ilens = ilens.to(wav.device, non_blocking=True)
        return resample_valid(float_wave(wav), ilens, self.fs)[0]


def load_network(checkpoint: str, network: dict | None = None) -> "UniVersaExt | DnsmosHeads":
    """The quality network called `checkpoint`; see :class:`SQALoss`."""
    if checkpoint == PACKAGED:
        if network:
            raise ValueError(f"checkpoint: {PACKAGED} has one size; leave out network: {network}")
        return DnsmosHeads()
    path = find_checkpoint(checkpoint)
    weights, own = read_checkpoint(path)
    universa = UniVersaExt(**(own if network is None else network))
    universa.load_weights(weights, str(path))
    return universa


def read_checkpoint(path: Path) -> tuple[dict, dict]:
    """The state dict under `model` and the arguments under `network` (none in the published one).

    Read without executing code.

    Raises:
        ValueError: the file is no such checkpoint.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types; each means "not a weights file"
        raise ValueError(f"{path}: not a readable weights file: {error}") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        found = sorted(map(str, checkpoint))[:5] if isinstance(checkpoint, dict) else "no dict"
        raise ValueError(f"{path}: expected a dict with the key 'model', found {found}")
    return checkpoint["model"], checkpoint.get("network") or {}
