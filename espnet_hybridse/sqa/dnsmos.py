"""DNSMOS P.835 as plain PyTorch: the ONNX network's weights, a gradient, any length."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from espnet_hybridse.scoring.metrics.dnsmos import CALIBRATION

HOP, WINDOW = 160, 320
MIN_SAMPLES = WINDOW + 7 * HOP
"""Eight frames, of which three poolings leave one."""
FLOOR = 1e-12
SCALES = tuple(CALIBRATION)


class DnsmosP835(nn.Module):
    """Convolutions over the log power of 20-ms frames, the maximum over time and frequency.

    Reddy et al., "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric to
    evaluate noise suppressors", ICASSP 2022. The metric hears 9.01 s at a time; the network itself
    takes any length, as its last pooling is global.

    Args:
        path: `sig_bak_ovr.onnx`.
    """

    columns = tuple(f"DNSMOS {scale}" for scale in SCALES)
    """The columns of the results table that it predicts, in the order of its outputs."""

    def __init__(self, path: Path):
        super().__init__()
        import onnx
        from onnx import numpy_helper

        graph = onnx.load(str(path)).graph
        tensors = {i.name: torch.tensor(numpy_helper.to_array(i)) for i in graph.initializer}
        parts = [tensors[f"time2freq/stft-{part}/kernel:0"][:, :, 0] for part in ("real", "imag")]
        self.register_buffer("transform", torch.cat(parts).T.contiguous())  # (320, 2 * 161)
        layers: list[nn.Module] = []
        for index in range(7):
            name = f"conv2d_{index}" if index else "conv2d"
            kernel, bias = tensors[f"{name}/kernel:0"], tensors[f"{name}/bias:0"]
            layers += [convolution(kernel, bias), nn.ReLU()]
            if 3 <= index < 6:
                layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        dense: list[nn.Module] = []
        for name in ("dense", "dense_1", "dense_3"):
            weight, bias = (
                tensors[f"mos_estimator_logpow/{name}/{what}/ReadVariableOp/resource:0"]
                for what in ("MatMul", "BiasAdd")
            )
            dense += [linear(weight.T, bias), nn.ReLU()]
        self.dense = nn.Sequential(*dense[:-1])
        calibration = np.stack([CALIBRATION[scale].coeffs for scale in SCALES], axis=1)
        self.register_buffer("calibration", torch.from_numpy(calibration).float())

    def forward(self, wav: Tensor) -> Tensor:
        """Waveforms of one length (B, T) at 16 kHz -> opinion scores SIG, BAK, OVRL (B, 3)."""
        wav = nn.functional.pad(wav, (0, max(0, MIN_SAMPLES - wav.shape[1])))
        raw = self.raw(wav)
        square, slope, offset = self.calibration
        return (square * raw + slope) * raw + offset

    def raw(self, wav: Tensor) -> Tensor:
        """(B, T), eight frames at least -> the ONNX network's own outputs (B, 3)."""
        real, imag = (wav.unfold(1, WINDOW, HOP) @ self.transform).chunk(2, dim=2)
        power = real.square() + imag.square()
        hidden = self.convolutions(power.clamp_min(FLOOR).log10()[:, None])
        return self.dense(hidden.amax((2, 3)))


def convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A 3 x 3 convolution, zeros around its input."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A dense layer of these weights (outputs, inputs)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
