"""Whisper's encoder from a file of tensors: a pretrained 50 Hz speech encoder without a network.

The mini recipe needs real pretrained features where no model hub can be reached: the smallest
encoder comes with this package, larger ones are in wheels in CTranslate2's format. The encoder is
small enough to write out; the plain form also lifts the fixed 30 s input of the library versions:
only as many frames as the audio has are computed.
"""

import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_hybridse.nn.precision import in_float32

HOP = 320
"""Samples of 16 kHz audio per output frame (20 ms)."""

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_FLOATS = (np.float32, np.float16)


def read_ctranslate2(path: str | Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Read the variables of a CTranslate2 `model.bin` whose name starts with `prefix`.

    Layout (binary version 6, little endian): version, name, revision, count, then per variable
    its name, rank, dimensions, type, size in bytes and bytes. Strings carry a length and a NUL.

    Raises:
        ValueError: not such a file, or a type that is not known here.
    """
    data = Path(path).read_bytes()
    offset = 0

    def number(code: str) -> int:
        nonlocal offset
        (value,) = struct.unpack_from("<" + code, data, offset)
        offset += struct.calcsize("<" + code)
        return value

    def string() -> str:
        nonlocal offset
        length = number("H")
        offset += length
        return data[offset - length : offset - 1].decode("utf-8")

    try:
        version = number("I")
        if version != 6:
            raise ValueError(f"binary version {version}, expected 6")
        string(), number("I")
        variables = {}
        for _ in range(number("I")):
            name = string()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = number("B"), number("I")
            if name.startswith(prefix):
                if kind not in _DTYPES:
                    raise ValueError(f"{name} has type {kind}, known are {sorted(_DTYPES)}")
                array = np.frombuffer(data[offset : offset + size], dtype=_DTYPES[kind])
                variables[name] = array.reshape(shape)
            offset += size
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: not a readable CTranslate2 model: {error}") from error
    return variables


class WhisperEncoder(nn.Module):
    """Log-mel front end and transformer encoder of Whisper.

    Args:
        variables: tensors named as in CTranslate2 (`read_ctranslate2(path, "encoder/")`),
            stored as float16 or float32.
    """

    def __init__(self, variables: dict[str, np.ndarray]):
        super().__init__()
        names = {name.removeprefix("encoder/"): value for name, value in variables.items()}
        if "conv1/weight" not in names:
            raise ValueError("no Whisper encoder in this model: 'encoder/conv1/weight' is missing")
        if names["conv1/weight"].dtype not in _FLOATS:
            raise ValueError("Whisper weights are quantised; float16 or float32 is needed")
        dim, n_mels, _ = names["conv1/weight"].shape
        self.num_layers = sum(name.endswith("ffn/linear_0/weight") for name in names)
        self.conv1 = nn.Conv1d(n_mels, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        heads = int(names.get("num_heads", dim // 64))
        ffn = names["layer_0/ffn/linear_0/weight"].shape[0]
        self.layers = nn.ModuleList(_Layer(dim, heads, ffn) for _ in range(self.num_layers))
        self.layer_norm = nn.LayerNorm(dim)
        positions = names["position_encodings/encodings"].astype(np.float32)
        self.register_buffer("positions", torch.from_numpy(positions))
        self.register_buffer("mel", mel_filters(n_mels), persistent=False)
        self.register_buffer("window", torch.hann_window(400), persistent=False)
        self._fill(names)

    @classmethod
    def from_ctranslate2(cls, directory: str | Path) -> "WhisperEncoder":
        """Load from the folder of a converted model (the one that holds `model.bin`)."""
        return cls(read_ctranslate2(Path(directory) / "model.bin", "encoder/"))

    @classmethod
    def from_safetensors(cls, path: str | Path) -> "WhisperEncoder":
        """Load from a file of the encoder's tensors alone, under the same names."""
        from safetensors.numpy import load_file

        return cls(load_file(path))

    def _fill(self, names: dict[str, np.ndarray]) -> None:
        pairs = {"conv1": self.conv1, "conv2": self.conv2, "layer_norm": self.layer_norm}
        for i, layer in enumerate(self.layers):
            pairs[f"layer_{i}/self_attention/layer_norm"] = layer.attention_norm
            pairs[f"layer_{i}/self_attention/linear_0"] = layer.qkv
            pairs[f"layer_{i}/self_attention/linear_1"] = layer.out
            pairs[f"layer_{i}/ffn/layer_norm"] = layer.ffn_norm
            pairs[f"layer_{i}/ffn/linear_0"] = layer.ffn[0]
            pairs[f"layer_{i}/ffn/linear_1"] = layer.ffn[2]
        with torch.no_grad():
            for name, module in pairs.items():
                norm = isinstance(module, nn.LayerNorm)
                for ours, theirs in (("weight", "gamma"), ("bias", "beta")):
                    array = names[f"{name}/{theirs if norm else ours}"].astype(np.float32)
                    getattr(module, ours).copy_(torch.from_numpy(array))

    @property
    def dim(self) -> int:
        return self.layer_norm.weight.numel()

    @property
    def max_frames(self) -> int:
        """Frames the positional table covers (1500 = 30 s)."""
        return self.positions.size(0)

    def log_mel(self, wav: Tensor) -> Tensor:
        """(B, S) at 16 kHz -> (B, n_mels, 2 * ceil(S / 320)), Whisper's scaling.

        Zeros follow the audio, as when Whisper pads to 30 s. Always in full precision, so that
        training under autocast sees the features the tokens were made of.
        """
        with in_float32(wav):
            return self._log_mel(wav.float())

    def _log_mel(self, wav: Tensor) -> Tensor:
        frames = 2 * -(-wav.size(1) // HOP)
        wav = F.pad(wav, (0, frames * 160 + 400 - wav.size(1)))
        spectrum = torch.stft(wav, 400, 160, window=self.window, return_complex=True)
        power = spectrum[..., :frames].abs().square()
        log = (self.mel.T @ power).clamp(min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (log + 4.0) / 4.0

    def encode(self, features: Tensor) -> list[Tensor]:
        """(B, n_mels, 2 N), N <= max_frames -> hidden states, num_layers + 1 of (B, N, dim).

        The first is the input of the first layer, the last has passed the final LayerNorm.
        """
        x = F.gelu(self.conv2(F.gelu(self.conv1(features)))).transpose(1, 2)
        x = x + self.positions[: x.size(1)]
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1]))
        states[-1] = self.layer_norm(states[-1])
        return states

    def forward(self, wav: Tensor) -> Tensor:
        """(B, S) equally long audio at 16 kHz -> (B, ceil(S / 320), num_layers + 1, dim).

        Audio beyond 30 s is taken in windows of 30 s.
        """
        chunks = wav.split(self.max_frames * HOP, dim=1)
        return torch.cat(
            [torch.stack(self.encode(self.log_mel(chunk)), dim=2) for chunk in chunks], dim=1
        )


def mel_filters(n_mels: int, n_fft: int = 400, fs: int = 16000) -> Tensor:
    """Return Slaney's mel filters (n_fft / 2 + 1, n_mels): triangles of equal area.

    Mels are linear in Hz up to 1 kHz (15 mels) and logarithmic above (27 mels for a factor of 6.4).
    """
    knee, step = 15.0, np.log(6.4) / 27.0
    highest = knee + np.log(fs / 2 / 1000.0) / step
    mels = np.linspace(0.0, highest, n_mels + 2)
    edges = np.where(mels < knee, mels * 200.0 / 3.0, 1000.0 * np.exp(step * (mels - knee)))
    bins = np.linspace(0.0, fs / 2, n_fft // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (edges[2:] - edges[:-2])
    return torch.from_numpy(triangles).float()


class _Layer(nn.Module):
    """Pre-norm transformer layer with fused query, key and value."""

    def __init__(self, dim: int, heads: int, ffn: int):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn), nn.GELU(), nn.Linear(ffn, dim))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(y)
        return x + self.ffn(self.ffn_norm(x))
