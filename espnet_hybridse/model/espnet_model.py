"""The ESPnet model of all branches: passes rate, lengths and tokens where stock ESPnet does not."""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from espnet2.enh.espnet_model import ESPnetEnhancementModel
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss
from espnet2.enh.loss.wrappers.abs_wrapper import AbsLossWrapper
from espnet2.enh.loss.wrappers.fixed_order import FixedOrderSolver
from espnet2.torch_utils.initialize import initialize

from espnet_hybridse.losses.batch_info import BatchInfo
from espnet_hybridse.losses.token_nll import TokenNLL
from espnet_hybridse.model.build import FindClass, build_parts, enhanced, own_rate

EACH = "loss_of_each"
EXTRA_STREAMS = ("tokens", "tokens_lengths", "speech_disc", "speech_gen")
Lengths = torch.Tensor | Sequence[int]


class HybridEnhancementModel(ESPnetEnhancementModel):
    """ESPnetEnhancementModel with the batch's rate, valid lengths and tokens passed on.

    Takes the arguments of ESPnetEnhancementModel; `loss_wrappers` may hold a TokenNLL.

    Rates and lengths are numbers that Python decides by. They stay on the CPU from the loader to
    the last layer: reading one from a GPU would make the whole training wait for it.
    """

    def __init__(self, *args, loss_wrappers: list[AbsLossWrapper], **kwargs):
        tokens = [w for w in loss_wrappers if isinstance(w.criterion, TokenNLL)]
        waveforms = [w for w in loss_wrappers if w not in tokens]
        super().__init__(*args, loss_wrappers=waveforms, **kwargs)
        self.token_wrappers = tokens
        self.own_fs = own_rate(
            {"model_conf": {"always_forward_in_48k": self.always_forward_in_48k}},
            self.encoder,
            self.separator,
        )
        if self.normalize_variance or self.normalize_variance_per_ch:
            raise ValueError(
                "normalize_variance=true divides by silence and counts padding; "
                "use separator_conf: {rms_norm: true} instead"
            )

    def forward(
        self,
        speech_mix: torch.Tensor,
        speech_mix_lengths: Lengths | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Loss of one batch of one rate.

        Args:
            speech_mix: (B, T) degraded speech.
            speech_mix_lengths: (B,) samples, a tensor on any device or a list.
            **kwargs: `speech_ref1` (B, T), `utt2fs` (B,) or (B, 1) in Hz; optionally `tokens`
                (B, N) with `tokens_lengths`, and the dumped branch outputs `speech_disc`,
                `speech_gen` (B, T).

        Returns:
            loss, the values to log and the batch size; (1,) each, as ESPnet's loops expect. In
            validation the values have `loss_of_each` (B,) besides, of the criterions of waveforms.
        """
        fs = _one_rate(kwargs["utt2fs"])
        if speech_mix_lengths is None:
            speech_mix_lengths = [speech_mix.shape[1]] * len(speech_mix)
        lengths = on_cpu(speech_mix_lengths)
        for wrapper in self.loss_wrappers:
            if isinstance(wrapper.criterion, BatchInfo):
                wrapper.criterion.set_batch(fs, lengths, speech_mix)

        additional: dict = {name: kwargs[name] for name in EXTRA_STREAMS if name in kwargs}
        if "tokens_lengths" in additional:
            additional["tokens_lengths"] = on_cpu(additional["tokens_lengths"])
        # Validation hears what inference gives, the model's own tokens; its NLL and token accuracy
        # stay those of the gold history.
        additional["free_running"] = not self.training
        enhanced, feature_mix, feature_pre, others = self.forward_enhance(
            speech_mix, lengths, additional, fs=fs
        )
        logs = {name: others.pop(name) for name in tuple(others) if name.startswith("log_")}
        loss, stats = self._waveform_loss(
            enhanced, lengths, feature_mix, feature_pre, others, kwargs["speech_ref1"], fs
        )
        for wrapper in self.token_wrappers:
            if "token_logits" not in others:
                raise ValueError(
                    "criterion token_nll: the batch has no tokens; add "
                    "'dump/tokens/<set>/text_int,tokens,text_int' to the data (hybridse tokenize)"
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
        # As ESPnet's force_gatherable shapes them, but the number is not sent to the GPU.
        stats = {
            name: torch.as_tensor(value).reshape(-1 if name == EACH else 1)
            for name, value in stats.items()
        }
        return loss.reshape(1), stats, torch.tensor([len(speech_mix)])

    def _waveform_loss(
        self, enhanced, lengths, feature_mix, feature_pre, others, ref: torch.Tensor, fs: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Weighted sum of the criterions and each one's value.

        ESPnet's own `forward_loss` makes small tensors on the GPU for channels and categories that
        enhancement of one channel has not, and waits for each; it is left to criterions that work
        on spectra.
        """
        if not all(isinstance(w.criterion, TimeDomainLoss) for w in self.loss_wrappers):
            if self.own_fs not in (None, fs):
                names = [w.criterion.name for w in self.loss_wrappers]
                raise ValueError(
                    f"{type(self.separator).__name__} works at {self.own_fs} Hz only, and of its "
                    f"criterions {', '.join(names)} one compares spectra: with data at {fs} Hz "
                    "take criterions of waveforms, or a separator of all rates (tfgridnet_sfi)"
                )
            loss, stats, *_ = self.forward_loss(
                enhanced, lengths, feature_mix, feature_pre, others, [ref], fs=fs
            )
            return loss, stats
        loss, of_each, stats = ref.new_zeros(()), ref.new_zeros(len(ref)), {}
        for wrapper in self.loss_wrappers:
            criterion = wrapper.criterion
            if self.training and getattr(criterion, "only_for_test", False):
                continue
            plain = isinstance(wrapper, FixedOrderSolver) and not hasattr(criterion, "stats")
            with torch.set_grad_enabled(torch.is_grad_enabled() and wrapper.weight != 0):
                if plain and not self.training:
                    each = criterion(ref, enhanced[0])
                    value, values = each.mean(), {criterion.name: each.mean().detach()}
                    of_each = of_each + wrapper.weight * each
                else:
                    value, values, _ = wrapper([ref], enhanced, dict(others))
                    of_each = of_each + wrapper.weight * value.detach()
            loss = loss + wrapper.weight * value
            stats.update(values)
        stats["loss"] = loss.detach()
        if not self.training:
            stats[EACH] = of_each.detach()
        return loss, stats

    def forward_enhance(self, speech_mix, speech_lengths, additional=None, fs=None):
        """As ESPnet's; lengths stay on the CPU, and a separator of one rate runs at that."""
        return enhanced(self, speech_mix, on_cpu(speech_lengths), additional, fs)


def on_cpu(lengths: Lengths) -> torch.Tensor:
    """Lengths as an int64 tensor (B,) on the CPU; waits for the GPU if they came from there."""
    return torch.as_tensor(lengths, dtype=torch.long, device="cpu")


def _one_rate(utt2fs: Lengths) -> int:
    rates = set(on_cpu(utt2fs).flatten().tolist())
    if len(rates) != 1:
        raise ValueError(f"one batch holds the rates {sorted(rates)} Hz; use iterator_type: task")
    return rates.pop()


def build_training_model(
    args: argparse.Namespace, separator_conf: dict, find_class: FindClass
) -> HybridEnhancementModel:
    """Build a model with its losses and initial weights, as ESPnet's task does.

    Args:
        args: of a training.
        separator_conf: that of `args`, with what stands for a hybrid's branches in their place.
        find_class: names to classes.

    Raises:
        ValueError: as of :func:`build_parts`.
    """
    parts = build_parts({**vars(args), "separator_conf": separator_conf}, find_class)
    wrappers = []
    for criterion in args.criterions or []:
        conf = dict(criterion.get("conf") or {})
        if criterion["name"] == "sqa" and getattr(args, "sqa_checkpoint", None):
            conf["checkpoint"] = args.sqa_checkpoint
        loss = find_class("criterion", criterion["name"])(**conf)
        wrapper = find_class("loss_wrapper", criterion["wrapper"])
        wrappers.append(wrapper(criterion=loss, **criterion["wrapper_conf"]))
    encoder, separator, decoder = parts
    model = HybridEnhancementModel(
        encoder=encoder,
        separator=separator,
        decoder=decoder,
        mask_module=None,
        loss_wrappers=wrappers,
        **(getattr(args, "model_conf", None) or {}),
    )
    if getattr(args, "init", None) is not None:
        initialize(model, args.init)
    return model
