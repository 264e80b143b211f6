"""Options of the fusion network, in groups; a configuration names them side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from espnet_hybridse.fusion.branches import as_loader, band_of
from espnet_hybridse.fusion.safety import check_safety
from espnet_hybridse.model.loading import ModelLoader

GEN_FS = 16000
"""Rate of a generative branch that is not known yet, as in the paper (Hz)."""


@dataclass(frozen=True)
class SystemOptions:
    """The trained models that the fusion hears.

    Attributes:
        disc: directory of the trained discriminative branch; null when training from dumps.
        gen: directory of the trained generative branch; null when training from dumps.
        third: directory of any other trained enhancement model, such as the challenge's baseline.
            It is run frozen, in training too, and its spectrum is one more input of the network:
            M then knows what a third system hears, the output stays that of eq. (1).
        unfreeze: branches ("disc", "gen") that are trained on together with the fusion; they then
            belong to its parameters and checkpoints, and their dumped outputs are not used.
        gen_fs: rate of the generative branch in Hz; M is 1 above half of it. null takes what the
            branch itself says: 48000 with refiner_fs "native", else 16000.

    Raises:
        ValueError: a branch to unfreeze that is not given, or a `gen_fs` that is not the branch's.
    """

    disc: ModelLoader | str | None = None
    gen: ModelLoader | str | None = None
    third: ModelLoader | str | None = None
    unfreeze: Sequence[str] = ()
    gen_fs: int | None = None

    def __post_init__(self):
        for name in self.unfreeze:
            if name not in ("disc", "gen") or getattr(self, name) is None:
                raise ValueError(
                    f"unfreeze={list(self.unfreeze)}: expected branches out of disc and gen whose "
                    f"directories are given, but {name} is {getattr(self, name, None)!r}"
                )
        own_fs = band_of(as_loader(self.gen))
        if None not in (self.gen_fs, own_fs) and self.gen_fs != own_fs:
            raise ValueError(
                f"gen_fs={self.gen_fs} Hz, but the generative branch works at {own_fs} Hz; set "
                "gen_fs: null"
            )

    @property
    def band_fs(self) -> int:
        """Return the rate in Hz up to whose half the generative branch gives a spectrum."""
        return self.gen_fs or band_of(as_loader(self.gen)) or GEN_FS


@dataclass(frozen=True)
class NetworkOptions:
    """The network that estimates M; all sizes are our choice.

    Attributes:
        channels: C of the network.
        n_blocks: grid blocks.
        hidden: LSTM units per direction.
        n_head: attention heads.
        freq_stride: bins merged into one by the input convolution.
        bands: merge bins into the discriminative branch's default bands instead of striding over
            them: a smooth mask, and 48 kHz for little more than 16 kHz. `freq_stride` is not used.
        segment: frames per segment of the time transformer.
        n_memory: memory tokens that link segments.
        use_noisy: whether the noisy spectrum is an input.
        amp_dtype: see TFGridNetSFI.
    """

    channels: int = 48
    n_blocks: int = 3
    hidden: int = 64
    n_head: int = 4
    freq_stride: int = 4
    bands: bool = False
    segment: int = 64
    n_memory: int = 20
    use_noisy: bool = True
    amp_dtype: str | None = None


@dataclass(frozen=True)
class SafetyOptions:
    """A way back where the branches contradict each other, in inference only.

    Attributes:
        safety: 0 to 1: how far the output moves to `safety_to`, see
            :func:`~espnet_hybridse.fusion.safety.fall_back`.
        safety_to: "disc" or "noisy".

    Raises:
        ValueError: a value out of its range.
    """

    safety: float = 0.0
    safety_to: str = "disc"

    def __post_init__(self):
        check_safety(self.safety, self.safety_to)
