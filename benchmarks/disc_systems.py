"""The systems of `python -m benchmarks.disc`, and one step of each."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from espnet2.enh.separator.bsrnn_separator import BSRNNSeparator
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch import nn

from benchmarks.measure import Call
from espnet_hybridse.discriminative.tfgridnet_sfi import TFGridNetSFI
from espnet_hybridse.nn.precision import cpu_has_bfloat16
from espnet_hybridse.nn.spectrum import WINDOW_MS, n_fft

SHARED = (
    "n_layers",
    "lstm_hidden_units",
    "attn_n_head",
    "attn_qk_output_channel",
    "emb_dim",
    "emb_ks",
    "emb_hs",
    "eps",
)
"""Options of TFGridNetSFI that TFGridNetV3 has too, besides n_srcs."""
BASELINE = {"num_channels": 196, "num_layers": 6, "target_fs": 48000}
"""The challenge's baseline (its conf/models/BSRNN_baseline.yaml)."""
BASELINE_BINS = 481
WARM_FRAMES, WARM_BINS = 4, 17

Build = Callable[[dict[str, Any], dict[str, Any]], nn.Module]
"""(options shared with TFGridNetV3, the preset's own) -> a separator."""


@dataclass(frozen=True)
class System:
    """One line of the table.

    Attributes:
        label: its name there.
        build: makes the separator.
        same: it takes TFGridNetV3's weights and must give its output.
        amp: runs as ESPnet's trainer does with use_amp.
        half: computes in bfloat16, by `amp` or by itself.
        compiled: runs through torch.compile.
    """

    label: str
    build: Build
    same: bool = True
    amp: bool = False
    half: bool = False
    compiled: bool = False

    def trains(self, device: torch.device) -> bool:
        """Whether its training is worth timing: bfloat16 is slow on most CPUs."""
        return not self.half or device.type == "cuda" or cpu_has_bfloat16()


def upstream(plain: dict[str, Any], own: dict[str, Any]) -> nn.Module:
    """ESPnet's TFGridNetV3 at the preset's size."""
    return TFGridNetV3(None, **plain)


def upstream_amp(plain: dict[str, Any], own: dict[str, Any]) -> nn.Module:
    """The same, mended where PyTorch cannot make a complex spectrum of two bfloat16 halves."""
    model = upstream(plain, own)
    model.deconv.register_forward_hook(lambda module, inputs, output: output.float())
    return model


def ours(**options) -> Build:
    """TFGridNetSFI in the form that computes what TFGridNetV3 computes."""
    return lambda plain, own: TFGridNetSFI(None, **plain, **options)


def baseline(plain: dict[str, Any], own: dict[str, Any]) -> nn.Module:
    """BSRNN, which would log its 34 sub-bands each time it is built."""
    logging.disable(logging.INFO)
    try:
        return BSRNNSeparator(BASELINE_BINS, **BASELINE)
    finally:
        logging.disable(logging.NOTSET)


SYSTEMS = {
    "v3": System("ESPnet TFGridNetV3", upstream),
    "v3_amp": System("ESPnet TFGridNetV3, AMP (mended)", upstream_amp, amp=True, half=True),
    "ours": System("ours", ours()),
    "ours_ckpt": System("ours, checkpointing", ours(activation_checkpointing=True)),
    "ours_bf16": System("ours, bf16", ours(amp_dtype="bfloat16"), half=True),
    "ours_compile": System("ours, compiled", ours(), compiled=True),
    "configured": System(
        "ours, as configured", lambda plain, own: TFGridNetSFI(None, **own), same=False
    ),
    "bsrnn": System("BSRNN, challenge baseline", baseline, same=False),
}


@dataclass(frozen=True)
class Case:
    """A system with what it is run on. Can be sent to another process.

    Attributes:
        system: key of SYSTEMS.
        own: the preset's separator_conf.
        fs: Hz.
        seconds, batch: of audio.
        device: "cpu" or "cuda".
    """

    system: str
    own: dict[str, Any]
    fs: int
    seconds: float
    batch: int
    device: str

    def build(self) -> nn.Module:
        return SYSTEMS[self.system].build(self.plain, self.own)

    @property
    def plain(self) -> dict[str, Any]:
        return {"n_srcs": 1, **{key: self.own[key] for key in SHARED if key in self.own}}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, T, F) of the input, on the branch's 20/10 ms grid."""
        size = n_fft(self.fs, WINDOW_MS["disc"])
        return self.batch, 1 + round(self.seconds * self.fs) // (size // 2), size // 2 + 1

    def spectrum(self) -> torch.Tensor:
        """White noise: (B, T, F) complex."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(*self.shape, dtype=torch.complex64, generator=generator)

    def ilens(self, frames: int | None = None) -> torch.Tensor:
        """(B,) lengths: every frame valid."""
        return torch.full((self.batch,), frames or self.shape[1])


class Step:
    """A built system and its input, ready to be called."""

    def __init__(self, case: Case):
        self.case, self.system = case, SYSTEMS[case.system]
        self.device = torch.device(case.device)
        torch.manual_seed(0)
        model = case.build()
        if self.system.same:
            torch.manual_seed(0)
            model.load_state_dict(upstream(case.plain, case.own).state_dict())
        self.model = model.to(self.device)
        if self.system.compiled:
            self.model.compile()
        self.spectrum = case.spectrum().to(self.device)
        self.output = None

    def infer(self) -> None:
        """One forward pass without gradients; its output is kept."""
        self.model.eval()
        with torch.no_grad():
            self.output = self._forward(self.spectrum)

    def train(self) -> None:
        """Forward and backward pass of one training step; its gradients stay until `clear`."""
        self.clear()
        self.model.train()
        self._loss(self.spectrum).backward()

    def warm(self, mode: str) -> None:
        """Make libraries load and kernels compile, where that can be on a small input."""
        spectrum = self.spectrum
        if self.device.type == "cpu" and not self.system.compiled:
            # BSRNN needs all bins of its bands, the others take any number.
            bins = WARM_BINS if isinstance(self.model, TFGridNetV3) else None
            spectrum = spectrum[:, :WARM_FRAMES, :bins]
        with torch.set_grad_enabled(mode == "train"):
            loss = self._loss(spectrum)
        if mode == "train":
            loss.backward()
        self.clear()

    def clear(self) -> None:
        """Forget output and gradients."""
        self.output = None
        self.model.zero_grad(set_to_none=True)

    def _loss(self, spectrum: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(self._forward(spectrum) - spectrum).abs().mean()

    def _forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        with espnet_amp(self.device) if self.system.amp else nullcontext():
            ilens = self.case.ilens(spectrum.shape[1])
            return self.model(spectrum, ilens, {"fs": self.case.fs})[0][0]


def espnet_amp(device: torch.device) -> AbstractContextManager:
    """The context of ESPnet's trainer with use_amp: float16 where a GPU has no bfloat16."""
    half = device.type == "cpu" or torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16 if half else torch.float16)


def prepare(case: Case, mode: str) -> tuple[Call, Call]:
    """The warm-up and the call of one mode, "infer" or "train", for a memory probe."""
    step = Step(case)
    return partial(step.warm, mode), getattr(step, mode)
