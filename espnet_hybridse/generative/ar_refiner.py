"""The generative branch as one ESPnet separator: semantic prefix -> LM states -> refiner."""

from collections import OrderedDict

import torch
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch import Tensor, nn

from espnet_hybridse.generative.decode_weights import DTYPES, StepWeights
from espnet_hybridse.generative.decoding import Decoded, decode
from espnet_hybridse.generative.options import (
    REFINER_FS,
    LMOptions,
    NoiseOptions,
    PrefixOptions,
    RefinerOptions,
)
from espnet_hybridse.generative.sampling import Sampling
from espnet_hybridse.generative.speech_prefix import SpeechPrefix
from espnet_hybridse.generative.token_lm import TokenLM, gold_tokens
from espnet_hybridse.nn.batching import each_alone, on_device, valid_mask
from espnet_hybridse.nn.flat_options import flat_options
from espnet_hybridse.nn.spectrum import WINDOW_MS, change_rate, rate_of

EPS = 1e-10


class ARRefiner(SpeechPrefix, TFGridNetV3):
    """Autoregressive token model and refiner (paper section 2.2, Fig. 1).

    Works on the 40/20 ms spectrum of the degraded speech at its own rate. It is a TFGridNetV3 by
    name only: stock ESPnet passes `fs` to encoder and decoder for instances of that class.

    In a configuration, and as keyword arguments, the options of all groups stand side by side.

    Args:
        input_dim: not used; ESPnet passes the encoder's output size.
        prefix, lm, refiner, noise: see their classes.
        sampling: see Sampling; greedy by default.
        decode_dtype: "float32", "bfloat16" or "int8" (CPU) for the steps of decoding in inference,
            which read all weights for every token; see StepWeights.

    Raises:
        ValueError: an option outside its range.
    """

    @flat_options
    def __init__(
        self,
        input_dim: int,
        prefix: PrefixOptions,
        lm: LMOptions,
        refiner: RefinerOptions,
        noise: NoiseOptions,
        sampling: Sampling,
        decode_dtype: str = "float32",
    ):
        nn.Module.__init__(self)
        self.native = str(refiner.refiner_fs) == "native"
        self.noise, self.sampling = noise, sampling
        self.decode_in(decode_dtype)
        self.make_prefix(
            prefix.semantic,
            prefix.semantic_conf,
            lm.lm_dim,
            prefix.feature_cache,
            prefix.feature_cache_gb,
        )
        self.lm = lm.build()
        self.refiner = refiner.build(lm.lm_dim)

    lengths_on_cpu = True
    window: Tensor
    step_weights: StepWeights | None

    @property
    def num_spk(self) -> int:
        return 1

    def forward(
        self, input: Tensor, ilens: Tensor, additional: dict | None = None
    ) -> tuple[list[Tensor], Tensor, OrderedDict]:
        """Enhance a batch of spectra.

        Args:
            input: (B, T, F) complex, F = fs / 50 + 1 of one of the seven rates; T >= 2.
            ilens: (B,) valid frames, best on the CPU; padding does not influence them.
            additional: `tokens` (B, N) int64 with `tokens_lengths` (B,), at least T - 1 of each
                utterance, for training; `free_running: True` decodes although they are there.

        Returns:
            [(B, T, F) complex64], ilens, and an OrderedDict: with tokens `token_logits`
            (B, T - 1, V) given the gold history (in training: given that which the refiner
            hears), `tokens`, `tokens_lengths` cut to T - 1 and the accuracy of those logits,
            `token_accuracy` or, where the history was decoded, `free_running_accuracy`; where
            decoded, `decoded_tokens`. `free_running` without training gives both accuracies.

        Raises:
            ValueError: F belongs to no rate, an utterance of one frame, or too few tokens.
        """
        additional = additional or {}
        fs = rate_of(input.size(-1), WINDOW_MS["gen"])
        ilens = ilens.cpu()
        if int(ilens.min()) < 2:
            raise ValueError("an utterance has less than 2 frames; at least 40 ms are needed")
        valid = valid_mask(ilens, input.size(1), input.device)[..., None]
        x = torch.complex(input.real.float(), input.imag.float()) * valid
        x16 = change_rate(x, self.window.numel() // 2 + 1, REFINER_FS / fs)
        rms = _rms(x16, on_device(ilens, input.device))

        nlens = ilens - 1
        states, others = self._states(x16 / rms, nlens, additional)
        if self.native:
            out = each_alone(self.refiner, x * (REFINER_FS / fs) / rms, ilens, states, nlens)
        else:
            bins = min(input.size(-1), x16.size(-1))
            out = each_alone(self.refiner, x16[..., :bins] / rms, ilens, states, nlens)
            out = change_rate(out, input.size(-1), 1.0)
        out = out * (rms * (fs / REFINER_FS)) * valid
        return [out], ilens, others

    def _states(self, x16: Tensor, nlens: Tensor, additional: dict) -> tuple[Tensor, OrderedDict]:
        """Conditioning (B, N, H) of the refiner and what training and logs need."""
        others: OrderedDict = OrderedDict()
        prefix = self._prefix(x16, nlens, self.training or "tokens" in additional)
        if self.lm is None:
            return self._noisy(prefix), others
        targets = gold_tokens(additional, nlens)
        decoded = (
            self._decode(self.lm, prefix, nlens) if self._decodes(targets, additional) else None
        )
        if decoded is not None:
            others["decoded_tokens"] = decoded.tokens
            if targets is None and not self.training:
                return decoded.states, others
        history = targets
        if decoded is not None and (self.training or targets is None):
            history = decoded.tokens
        assert history is not None, "there are tokens, or they were decoded"
        if self.training and self.noise.history_noise:
            random = torch.randint_like(history, self.lm.vocab_size)
            chosen = torch.rand(history.shape, device=history.device) < self.noise.history_noise
            history = torch.where(chosen, random, history)
        logits, states = self.lm(prefix, nlens, history)
        if targets is not None:
            others["token_logits"] = logits
            others["tokens"], others["tokens_lengths"] = targets, nlens
            own_history = decoded is not None and self.training
            name = "free_running_accuracy" if own_history else "token_accuracy"
            others[name] = _accuracy(logits.argmax(-1), targets, nlens)
        if decoded is not None and not self.training:
            if targets is not None:
                others["free_running_accuracy"] = _accuracy(decoded.tokens, targets, nlens)
            return decoded.states, others
        return self._noisy(states), others

    def _decode(self, lm: TokenLM, prefix: Tensor, nlens: Tensor) -> Decoded:
        steps = prefix.size(1)
        if self.training:
            # No CUDA graph: the weights change every time, and recording one would clash with the
            # loader's thread that copies to the GPU. No dropout: inference has none either.
            lm.eval()
            decoded = decode(lm, prefix, nlens, steps, self.sampling, graph=False)
            lm.train()
            return decoded
        if self.step_weights is None or not self.step_weights.fits(lm):
            self.step_weights = StepWeights(lm, self.decode_dtype)
        return decode(lm, prefix, nlens, steps, self.sampling, self.step_weights)

    def decode_in(self, dtype: str) -> None:
        """Decode in this type from now on; ValueError unless it is one of DTYPES."""
        if dtype not in DTYPES:
            raise ValueError(f"decode_dtype={dtype!r} is not one of {', '.join(DTYPES)}")
        self.decode_dtype, self.step_weights = dtype, None

    def train(self, mode: bool = True) -> "ARRefiner":
        """Fused weights would go stale in training and take up memory."""
        self.step_weights = None
        return super().train(mode)

    def __getstate__(self):
        return {**self.__dict__, "step_weights": None}

    def _decodes(self, targets: Tensor | None, additional: dict) -> bool:
        if targets is None or additional.get("free_running"):
            return True
        return self.training and float(torch.rand(())) < self.noise.free_running_prob

    def _noisy(self, states: Tensor) -> Tensor:
        if not (self.training and self.noise.state_noise):
            return states
        level = states.detach().square().mean(-1, keepdim=True).sqrt()
        return states + self.noise.state_noise * level * torch.randn_like(states)


def _accuracy(tokens: Tensor, targets: Tensor, nlens: Tensor) -> Tensor:
    """Share of the valid tokens (B, N) that are right, over the whole batch."""
    hit = (tokens == targets) & valid_mask(nlens, targets.size(1), targets.device)
    return hit.sum() / int(nlens.sum())


def _rms(x16: Tensor, ilens: Tensor) -> Tensor:
    """Root mean square of (B, T, 321) over valid frames and all 16 kHz bins: (B, 1, 1)."""
    power = torch.view_as_real(x16).square().sum((1, 2, 3)) / (ilens * x16.size(-1))
    return (power + EPS).sqrt()[:, None, None]
