"""Speech-quality-assessment loss, the last term of eq. (4)."""

import logging
from pathlib import Path

import torch
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss

from espnet_hybridse.losses.batch_info import BatchInfo, float_wave, resample_valid
from espnet_hybridse.sqa.network import UniVersaExt

MODEL_ID = "vvwangvv/universa-ext_wavlm-base_5metric"
WEIGHTS = "model.pt"


class SQALoss(TimeDomainLoss, BatchInfo):
    """Mean over the five heads of (5 - score) / 4: 0 when every predicted score is 5.

    The paper does not give its weighting; this is ours: each head from 0 (best) to 1 (worst), all
    equal. The network is frozen and in eval mode, and it stands outside the module tree: neither
    optimizer nor checkpoint sees it. The gradient passes through it, the normalisation and the
    resampler to the waveform. Utterances of equal length are scored together, unpadded, because
    WavLM's front end normalises over time and padding would change the scores.

    Without a checkpoint the loss is off: it returns zeros, and a warning in the log says so.

    Args:
        checkpoint: `model.pt`, the folder that holds it, or a Hugging Face id (`MODEL_ID`, read
            from the local cache or fetched); null switches the loss off.
        network: keyword arguments of UniVersaExt, for another size than the published one; null
            takes those in the checkpoint, where `hybridse train-sqa` writes them.
        every: compute the term in every n-th training step only, n times as heavy, and in every
            validation step; in the steps between it is 0. A share of its cost for the same
            expected gradient, as long as gradient clipping does not cut the heavier steps.

    Raises:
        FileNotFoundError: the checkpoint is neither on disk nor to be had.
        ValueError: the file is not such a checkpoint; the message names the keys.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        network: dict | None = None,
        every: int = 1,
        name: str = "sqa",
        only_for_test: bool = False,
    ):
        super().__init__(name, only_for_test=only_for_test)
        if every < 1:
            raise ValueError(f"every={every} must be at least 1")
        self.every, self.steps = every, 0
        # A list hides the network from parameters(), state_dict(), train() and to().
        self._networks: list[UniVersaExt] = []
        if checkpoint is None:
            logging.warning(
                "the SQA loss is off (checkpoint: null): training without the quality network; to "
                f"switch it on: hf download {MODEL_ID}, then --sqa_checkpoint {MODEL_ID}; or name "
                "a folder made by hybridse train-sqa"
            )
            return
        path = find_checkpoint(checkpoint)
        weights, own = read_checkpoint(path)
        universa = UniVersaExt(**(own if network is None else network))
        universa.load_weights(weights, str(path))
        self._networks.append(universa.requires_grad_(False).eval())

    @property
    def enabled(self) -> bool:
        """Whether a checkpoint was given; false means that `forward` returns zeros."""
        return bool(self._networks)

    def forward(self, ref: torch.Tensor, inf: torch.Tensor) -> torch.Tensor:
        """Estimate `inf` (B, T) at `self.fs` -> loss (B,); `ref` gives only the shape."""
        ilens = self.batch_lengths(ref, inf)
        if not self.enabled:
            return inf.sum(1) * 0.0
        weight = 1.0
        if self.every > 1 and inf.requires_grad:
            self.steps += 1
            if self.steps % self.every:
                return inf.sum(1) * 0.0
            weight = float(self.every)
        scores = self.scores(inf, ilens)
        return weight * (1.0 - self._networks[0].quality(scores).mean(1))

    def scores(self, wav: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
        """(B, T) at `self.fs` and valid samples (B,) -> scores (B, heads), each from 1 to 5."""
        network = self._networks[0].to(wav.device)
        wav, lengths = resample_valid(float_wave(wav), ilens, self.fs)
        scores = wav.new_zeros(wav.shape[0], len(network.heads))
        with torch.autocast(wav.device.type, enabled=False):
            for length in lengths.unique().tolist():
                rows = (lengths == length).nonzero()[:, 0]
                part = network(wav[rows, :length]).to(wav.dtype)
                scores = scores.index_copy(0, rows, part)
        return scores


def find_checkpoint(checkpoint: str) -> Path:
    """The weight file behind a path, a folder or a Hugging Face id.

    Raises:
        FileNotFoundError: none of them; the message says how to get the file.
    """
    path = Path(checkpoint).expanduser()
    if path.is_dir():
        path = path / WEIGHTS
    if path.is_file():
        return path
    remedy = f"run 'hf download {MODEL_ID}', or set checkpoint: null to train without it"
    # "exp/sqa" is meant for a folder where there is an exp, "name/model" for a hub's id.
    if checkpoint.count("/") == 1 and not (path.suffix == ".pt" or path.parent.exists()):
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(checkpoint, WEIGHTS))
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"SQA checkpoint {checkpoint!r} is neither cached nor reachable "
                f"({type(error).__name__}); {remedy}"
            ) from error
    raise FileNotFoundError(f"SQA checkpoint {checkpoint!r}: no such file; {remedy}")


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
