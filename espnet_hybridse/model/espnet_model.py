"""The ESPnet model of all branches: passes rate, lengths and tokens where stock ESPnet does not."""

from typing import Dict, List, Optional, Tuple

import torch
from espnet2.enh.espnet_model import ESPnetEnhancementModel
from espnet2.enh.loss.wrappers.abs_wrapper import AbsLossWrapper

from espnet_hybridse.losses.batch_info import BatchInfo
from espnet_hybridse.losses.token_nll import TokenNLL

EXTRA_STREAMS = ("tokens", "tokens_lengths", "speech_disc", "speech_gen")


class HybridEnhancementModel(ESPnetEnhancementModel):
    """ESPnetEnhancementModel with the batch's rate, valid lengths and tokens passed on.

    Takes the arguments of ESPnetEnhancementModel; `loss_wrappers` may hold a TokenNLL.
    """

    def __init__(self, *args, loss_wrappers: List[AbsLossWrapper], **kwargs):
        tokens = [w for w in loss_wrappers if isinstance(w.criterion, TokenNLL)]
        waveforms = [w for w in loss_wrappers if w not in tokens]
        super().__init__(*args, loss_wrappers=waveforms, **kwargs)
        self.token_wrappers = tokens
        if self.normalize_variance or self.normalize_variance_per_ch:
            raise ValueError(
                "normalize_variance=true divides by silence and counts padding; "
                "use separator_conf: {rms_norm: true} instead"
            )

    def forward(
        self,
        speech_mix: torch.Tensor,
        speech_mix_lengths: Optional[torch.Tensor] = None,
        **kwargs: torch.Tensor,
    ) -> Tuple[torch.Tensor, Dict[str, torch.Tensor], torch.Tensor]:
        """Loss of one batch of one rate.

        Args:
            speech_mix: (B, T) degraded speech.
            speech_mix_lengths: (B,) samples.
            **kwargs: `speech_ref1` (B, T), `utt2fs` (B, 1) in Hz; optionally `tokens` (B, N) with
                `tokens_lengths`, and the dumped branch outputs `speech_disc`, `speech_gen` (B, T).

        Returns:
            loss, the values to log, the batch size.
        """
        rates = kwargs["utt2fs"].unique().tolist()
        if len(rates) != 1:
            raise ValueError(f"one batch holds the rates {rates} Hz; use iterator_type: task")
        fs = rates[0]
        if speech_mix_lengths is None:
            speech_mix_lengths = torch.full(speech_mix.shape[:1], speech_mix.shape[1])
        for wrapper in self.loss_wrappers:
            if isinstance(wrapper.criterion, BatchInfo):
                wrapper.criterion.set_batch(fs, speech_mix_lengths, speech_mix)

        additional = {name: kwargs[name] for name in EXTRA_STREAMS if name in kwargs}
        enhanced, feature_mix, feature_pre, others = self.forward_enhance(
            speech_mix, speech_mix_lengths, additional, fs=fs
        )
        if "token_logits" in others and not self.training:
            # Validation hears what inference gives: the model's own tokens. Its NLL and token
            # accuracy stay those of the gold history.
            enhanced, feature_mix, feature_pre, free = self.forward_enhance(
                speech_mix, speech_mix_lengths, {**additional, "free_running": True}, fs=fs
            )
            others = {**free, **others}
        logs = {name: others.pop(name) for name in tuple(others) if name.startswith("log_")}
        loss, stats, weight, _ = self.forward_loss(
            enhanced,
            speech_mix_lengths,
            feature_mix,
            feature_pre,
            others,
            [kwargs["speech_ref1"]],
            fs=fs,
        )
        for wrapper in self.token_wrappers:
            if "token_logits" not in others:
                raise ValueError(
                    "criterion token_nll: the batch has no tokens; add "
                    "'dump/tokens/<set>/text_int,tokens,text_int' to the data (stage 4)"
                )
            nll = wrapper.criterion(
                others["token_logits"], others["tokens"], others["tokens_lengths"]
            )
            loss = loss + wrapper.weight * nll
            stats[wrapper.criterion.name] = nll.detach()
            stats["loss"] = loss.detach()
        for name, value in others.items():
            if name.endswith("_accuracy"):
                stats[name] = value.detach()
        stats.update({name[len("log_") :]: value.detach() for name, value in logs.items()})
        return loss, stats, weight
