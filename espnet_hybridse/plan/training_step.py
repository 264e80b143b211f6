"""One training step of a config's real ESPnet model, with its losses, to be timed."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Tuple

import torch

from espnet_hybridse.bench.disc_systems import espnet_amp
from espnet_hybridse.bench.measure import Call
from espnet_hybridse.plan.network import build

FS = 16000
"""Rate at which a batch holds `batch_size` utterances."""


@dataclass(frozen=True)
class Case:
    """What a step is made of. Can be sent to another process.

    Attributes:
        config: training YAML.
        batch, seconds: of the audio, at FS.
        device: "cpu" or "cuda".
    """

    config: Mapping[str, Any]
    batch: int
    seconds: float
    device: str

    def batch_of_noise(self) -> Dict[str, torch.Tensor]:
        """As the loader gives it, with every stream that one of the models may take."""
        steps = max(round(self.seconds * 50), 2)
        size = (self.batch, steps * (FS // 50))
        generator = torch.Generator().manual_seed(0)
        names = ["speech_mix", "speech_ref1"]
        if self.config["separator"] == "uses_fusion":
            names += ["speech_disc", "speech_gen"]
        batch = {name: 0.1 * torch.randn(size, generator=generator) for name in names}
        batch["speech_mix_lengths"] = torch.full(size[:1], size[1])
        batch["utt2fs"] = torch.full((self.batch, 1), FS)
        if self.config["separator"] == "ar_refiner":
            vocabulary = self.config["separator_conf"].get("vocab_size", 1024)
            tokens = torch.randint(vocabulary, (self.batch, steps + 1), generator=generator)
            batch["tokens"] = tokens
            batch["tokens_lengths"] = torch.full((self.batch,), steps + 1)
        return {name: value.to(self.device) for name, value in batch.items()}


class TrainingStep:
    """Forward and backward pass; gradients exist before, so that they are not counted as new."""

    def __init__(self, case: Case, model: torch.nn.Module | None = None):
        self.case, self.device = case, torch.device(case.device)
        self.model = build(steady(case.config), self.device) if model is None else model
        self.amp = bool(case.config.get("use_amp")) and self.device.type == "cuda"
        self.batch = case.batch_of_noise()

    @property
    def audio_s(self) -> float:
        """Seconds of audio in the batch."""
        return self.batch["speech_mix"].numel() / FS

    def train(self) -> None:
        self.model.train()
        self.model.zero_grad(set_to_none=False)
        with espnet_amp(self.device) if self.amp else nullcontext():
            loss = self.model(**self.batch)[0]
        loss.backward()

    def infer(self) -> None:
        """The separator alone, as inference runs it: a generative branch decodes its tokens."""
        self.model.eval()
        with torch.no_grad():
            speech = self.batch["speech_mix"]
            lengths = self.batch["speech_mix_lengths"]
            dumped = {k: v for k, v in self.batch.items() if k in ("speech_disc", "speech_gen")}
            self.model.forward_enhance(speech, lengths, dumped, fs=FS)


def steady(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The config whose steps are alike: history is never decoded in some of them only."""
    conf = dict(config.get("separator_conf") or {})
    if "free_running_prob" in conf:
        conf["free_running_prob"] = 0.0
    conf.pop("feature_cache", None)
    return {**config, "separator_conf": conf}


def prepare(case: Case) -> Tuple[Call, Call]:
    """For the memory probe: a step that warms up and makes the gradients, and the step."""
    step = TrainingStep(case)
    return step.train, step.train
