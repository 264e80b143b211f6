"""The two trained branches as the fusion sees them: frozen, or trained on with it."""

import threading
from pathlib import Path

import torch
from torch import nn

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.model.branch import GEN
from espnet_hybridse.model.files import CONFIG
from espnet_hybridse.model.loading import ModelLoader
from espnet_hybridse.nn.spectrum import WINDOW_MS, istft, n_fft, rate_of, stft


class FrozenBranch:
    """One trained branch, loaded when first needed; in eval mode and never saved again.

    Not a Module on purpose: its weights stay out of the fusion's parameters, state dict and
    train() calls.

    Args:
        loader: of the trained model, or None for a missing branch.
    """

    def __init__(self, loader: ModelLoader | None):
        self.loader = loader
        self.separator: nn.Module | None = None
        self.device = torch.device("cpu")
        self.decode_dtype: str | None = None
        """Type of the token decoding instead of the configured one."""
        self._loading = threading.Lock()

    def __bool__(self) -> bool:
        return self.loader is not None

    @torch.no_grad()
    def enhance(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Run the branch's separator; (B, T, F) complex -> (B, T, F) complex."""
        separator = self.load()
        if self.device != spectrum.device:
            separator.to(spectrum.device)
            self.device = spectrum.device
        return separate(separator, spectrum)

    def load(self) -> nn.Module:
        """The branch's separator, read from disk at the first call."""
        with self._loading:
            if self.separator is None:
                separator = load_separator(self.loader)
                decode_in(separator, self.decode_dtype)
                self.separator, self.device = separator, torch.device("cpu")
        return self.separator

    def __getstate__(self):
        # Locks do not travel to worker processes.
        return {name: value for name, value in self.__dict__.items() if name != "_loading"}

    def __setstate__(self, state):
        self.__dict__.update(state, _loading=threading.Lock())

    def decode_in(self, dtype: str) -> None:
        """Decode tokens in this type; a branch that decodes none ignores it."""
        self.decode_dtype = dtype
        decode_in(self.separator, dtype)


class JointBranch(nn.Module):
    """One trained branch that goes on learning with the fusion (`unfreeze`), as a part of it.

    A generative branch hears its own tokens in training too, which is what inference gives it:
    its refiner and LM learn from the fusion's loss, the choice of tokens has no gradient.

    Args:
        loader: of the trained model whose weights it starts from.
    """

    def __init__(self, loader: ModelLoader):
        super().__init__()
        self.separator = load_separator(loader)

    def __bool__(self) -> bool:
        return True

    def enhance(self, spectrum: torch.Tensor) -> torch.Tensor:
        """As :meth:`FrozenBranch.enhance`, with gradients."""
        return separate(self.separator, spectrum)

    def load(self) -> nn.Module:
        """The branch's separator."""
        return self.separator

    def decode_in(self, dtype: str) -> None:
        decode_in(self.separator, dtype)


def as_loader(place: ModelLoader | str | Path | None) -> ModelLoader | None:
    """Return what loads the model at `place`, which in a configuration is its folder.

    A packed zip names the config.yaml in it, see :mod:`espnet_hybridse.release.espnet_zip`.
    """
    if place is None or isinstance(place, ModelLoader):
        return place
    path = Path(place)
    return ModelLoader(path.parent if path.name == CONFIG else path)


def band_of(loader: ModelLoader | None) -> int | None:
    """Return the rate in Hz up to whose half a trained generative branch gives a spectrum.

    None where there is no branch, or none in its folder (yet).
    """
    if loader is None:
        return None
    try:
        conf = loader.files.config["separator_conf"] or {}
    except FileNotFoundError:
        return None
    return RATES[-1] if conf.get("refiner_fs", 16000) == "native" else 16000


def load_separator(loader: ModelLoader) -> nn.Module:
    """Load the separator of a trained model; with its own encoder if that is on another grid."""
    loaded = loader()
    model = loaded.model
    free = model.own_fs is None and not model.normalise
    if loaded.branch == GEN.name or (free and is_on_grid(loaded.config)):
        return model.separator
    return OwnGrid(model)


def is_on_grid(config: dict) -> bool:
    """Whether an experiment's encoder is the STFT that the fusion works on: 20/10 ms, Hann."""
    conf = config.get("encoder_conf") or {}
    window = WINDOW_MS["disc"]
    return (
        config.get("encoder") in ("stft", "sfi_stft")
        and conf.get("n_fft", 512) * 1000 == window * conf.get("default_fs", 16000)
        and conf.get("hop_length", 128) * 2 == conf.get("n_fft", 512)
        and conf.get("win_length") in (None, conf.get("n_fft"))
        and conf.get("window", "hann") == "hann"
        and conf.get("center", True)
        and not (conf.get("use_builtin_complex") is False or conf.get("spec_transform_type"))
    )


class OwnGrid(nn.Module):
    """A whole model as a separator of the fusion's grid: through the waveform and back.

    Args:
        model: enhancement model with an encoder and a decoder of its own.
    """

    lengths_on_cpu = True

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, spectrum: torch.Tensor, ilens: torch.Tensor, additional: dict) -> tuple:
        """[(B, T, F)] complex, ilens, {} of (B, T, F) complex on the 20/10 ms grid."""
        fs = rate_of(spectrum.shape[-1], WINDOW_MS["disc"])
        wav = to_wave(spectrum, fs)
        lengths = torch.full((len(wav),), wav.shape[1])
        [enhanced, *_], *_ = self.model.forward_enhance(wav, lengths, dict(additional), fs=fs)
        return [stft(enhanced, fs, WINDOW_MS["disc"], spectrum.shape[1])], ilens, {}


def decode_in(separator: nn.Module | None, dtype: str | None) -> None:
    if dtype is not None and hasattr(separator, "decode_in"):
        separator.decode_in(dtype)


def separate(separator: nn.Module, spectrum: torch.Tensor) -> torch.Tensor:
    ilens = torch.full((len(spectrum),), spectrum.shape[1])
    if not getattr(separator, "lengths_on_cpu", False):
        ilens = ilens.to(spectrum.device)
    return separator(spectrum, ilens, {})[0][0]


def generate(branch, spectrum: torch.Tensor, fs: int) -> torch.Tensor:
    """Run the generative branch on the fusion's 20/10 ms grid.

    The 40/20 ms spectrum it works on is taken of the same samples, so both branches stay aligned.

    Args:
        branch: the generative branch, frozen or joint.
        spectrum: (B, T, F) complex on the 20/10 ms grid at `fs` Hz.

    Returns:
        (B, T, F) complex on the same grid.
    """
    wav = to_wave(spectrum, fs)
    enhanced = branch.enhance(stft(wav, fs, WINDOW_MS["gen"]))
    enhanced = istft(enhanced, fs, WINDOW_MS["gen"], wav.shape[1])
    return stft(enhanced, fs, WINDOW_MS["disc"], spectrum.shape[1])


def to_wave(spectrum: torch.Tensor, fs: int) -> torch.Tensor:
    """(B, T, F) complex on the 20/10 ms grid at `fs` Hz -> the (B, S) samples under its frames."""
    size = n_fft(fs, WINDOW_MS["disc"])
    # The odd window of 22.05 kHz needs one sample more to give its last frame again.
    length = (spectrum.shape[1] - 1) * (size // 2) + size % 2
    return istft(spectrum, fs, WINDOW_MS["disc"], max(length, 1))
