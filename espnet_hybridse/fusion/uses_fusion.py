"""The fusion network: a light USES that weighs both branches bin by bin (paper section 2.3)."""

import logging
from collections import OrderedDict
from typing import Any

import torch
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch import nn

from espnet_hybridse.fusion.attention_block import GridTransformer
from espnet_hybridse.fusion.banded_stem import BandDecoder, BandEncoder
from espnet_hybridse.fusion.branches import (
    FrozenBranch,
    JointBranch,
    as_loader,
    generate,
)
from espnet_hybridse.fusion.options import NetworkOptions, SafetyOptions, SystemOptions
from espnet_hybridse.fusion.safety import check_safety, fall_back
from espnet_hybridse.nn.bands import Bands
from espnet_hybridse.nn.batching import by_length, each_alone
from espnet_hybridse.nn.flat_options import flat_options
from espnet_hybridse.nn.precision import autocast, in_float32
from espnet_hybridse.nn.spectrum import (
    WINDOW_MS,
    compress,
    rate_of,
    rms_normalise,
    stack_features,
    stft,
)

INPUTS: tuple[str, ...] = ("disc", "gen", "noisy")


class USESFusion(TFGridNetV3):
    """Estimates M and returns M * Y_disc + (1 - M) * Y_gen (paper eq. (1)).

    The paper calls the network a lightweight USES and gives no size: sizes here are our choice,
    and so are the branch embeddings (USES cannot tell its input channels apart), the noisy
    spectrum as third input and the bias that starts the mask at 0.73, on the faithful branch.

    In a configuration, and as keyword arguments, the options of all groups stand side by side.

    Args:
        input_dim: not used; ESPnet passes the encoder's output size.
        systems, network, safety: see their classes.

    Raises:
        ValueError: as of those.
    """

    @flat_options
    def __init__(
        self,
        input_dim: int | None,
        systems: SystemOptions,
        network: NetworkOptions,
        safety: SafetyOptions,
    ):
        nn.Module.__init__(self)
        loaders = {"disc": as_loader(systems.disc), "gen": as_loader(systems.gen)}
        joint = {
            name: JointBranch(loader)
            for name, loader in loaders.items()
            if loader is not None and name in systems.unfreeze
        }
        self.branches: dict[str, JointBranch | FrozenBranch] = {
            name: joint.get(name) or FrozenBranch(loader) for name, loader in loaders.items()
        }
        self.joint = nn.ModuleDict(joint)
        self.set_safety(safety.safety, safety.safety_to)
        self.third = FrozenBranch(as_loader(systems.third))
        self.inputs: tuple[str, ...] = INPUTS if network.use_noisy else INPUTS[:2]
        self.inputs += ("third",) if systems.third is not None else ()
        self.gen_fs, self.amp_dtype, self.warned = systems.band_fs, network.amp_dtype, False
        channels = network.channels
        self.encoder, self.decoder, last = self._ends(network)
        nn.init.zeros_(last.weight)
        nn.init.ones_(last.bias)
        embeddings = max(len(INPUTS), len(self.inputs))
        self.embedding = nn.Parameter(0.1 * torch.randn(embeddings, channels, 1, 1))
        self.transform = nn.Sequential(nn.PReLU(), nn.Conv2d(channels, channels, 1), nn.PReLU())
        self.blocks = nn.ModuleList(
            GridTransformer(
                channels, network.hidden, network.n_head, network.segment, network.n_memory
            )
            for _ in range(network.n_blocks)
        )

    def _ends(self, network: NetworkOptions) -> tuple[nn.Module, nn.Module, Any]:
        """Return what merges bins, what spreads them again, and the layer that gives the mask."""
        if network.bands:
            merged = Bands()
            spread = BandDecoder(network.channels, len(self.inputs), merged)
            return BandEncoder(network.channels, merged), spread, spread.out
        stride = network.freq_stride
        sizes: dict[str, Any] = {
            "kernel_size": (3, 2 * stride),
            "stride": (1, stride),
            "padding": (1, stride // 2),
        }
        last = nn.ConvTranspose2d(network.channels, 1, **sizes)
        return nn.Conv2d(3, network.channels, **sizes), last, last

    lengths_on_cpu = True

    @property
    def num_spk(self) -> int:
        return 1

    def decode_in(self, dtype: str) -> None:
        """Type of the generative branch's token decoding from now on."""
        self.branches["gen"].decode_in(dtype)

    def set_safety(self, strength: float, fallback: str = "disc") -> None:
        """See `safety` and `safety_to` of the constructor."""
        check_safety(strength, fallback)
        self.safety, self.safety_to = strength, fallback

    def forward(
        self, input: torch.Tensor, ilens: torch.Tensor, additional: dict | None = None
    ) -> tuple[list[torch.Tensor], torch.Tensor, OrderedDict]:
        """Enhance a batch of spectra.

        Args:
            input: (B, T, F) complex noisy spectrum on the 20/10 ms grid.
            ilens: (B,) valid frames.
            additional: may hold the branches' waveforms `speech_disc`, `speech_gen` (B, S) at the
                input's rate; without them the frozen branches are run.

        Returns:
            [(B, T, F)], ilens, {"mask": (B, T, F), "log_mask": its mean}.

        In inference one branch may be missing: the other one's output is then the result, and a
        warning says so once.

        Raises:
            ValueError: neither a branch's waveform nor its directory is given, in training for
                either branch, in inference for both.
        """
        additional = additional or {}
        masks = input.real.new_ones(input.shape)

        def fuse(part: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            waveforms = {
                name: additional[f"speech_{name}"][rows]
                for name in self.branches
                if f"speech_{name}" in additional and name not in self.joint
            }
            parts = self.parts(part, waveforms)
            masks[rows[:, None], torch.arange(part.shape[1], device=rows.device)[None]] = parts[
                "mask"
            ].detach()
            return parts["fused"]

        fused = by_length(fuse, input, ilens)
        return [fused], ilens, OrderedDict(mask=masks, log_mask=masks.mean())

    def parts(
        self, noisy: torch.Tensor, waveforms: dict[str, torch.Tensor] | None = None
    ) -> dict[str, torch.Tensor]:
        """What the output is made of.

        Args:
            noisy: (B, T, F) complex without padding.
            waveforms: branch -> its dumped output (B, S); other branches are run.

        Returns:
            {"disc", "gen", "mask", "fused"}, (B, T, F) each; a missing branch is left out.
        """
        waveforms = waveforms or {}
        fs = rate_of(noisy.shape[-1], WINDOW_MS["disc"])
        present = [name for name in self.branches if name in waveforms or self.branches[name]]
        if len(present) == 1 and not self.training:
            return self._alone(present[0], noisy, fs, waveforms)
        parts = {name: self._branch(name, noisy, fs, waveforms) for name in ("disc", "gen")}
        heard = {"third": self.third.enhance(noisy)} if self.third else {}
        spectra = {**parts, "noisy": noisy, **heard}
        names = list(spectra)
        mask = each_alone(
            lambda *rows: self.mask(dict(zip(names, rows, strict=True))), *spectra.values()
        )
        mask = self._above_gen_band(mask, fs)
        fused = mask * parts["disc"] + (1 - mask) * parts["gen"]
        if self.safety and not self.training:
            fallback = {**parts, "noisy": noisy}[self.safety_to]
            within = {name: self._within_gen_band(part, fs) for name, part in parts.items()}
            fused = fall_back(fused, within["disc"], within["gen"], fallback, self.safety)
        return {**parts, "mask": mask, "fused": fused}

    def _alone(
        self, name: str, noisy: torch.Tensor, fs: int, waveforms: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The only branch there is, and the mask that stands for it."""
        if not self.warned:
            other = "gen" if name == "disc" else "disc"
            logging.warning("the fusion has no %s branch: the output is that of %s", other, name)
            self.warned = True
        only = self._branch(name, noisy, fs, waveforms)
        mask = noisy.real.new_full(noisy.shape, float(name == "disc"))
        return {name: only, "mask": mask, "fused": only}

    def _branch(
        self, name: str, noisy: torch.Tensor, fs: int, waveforms: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        if name in waveforms:
            return stft(waveforms[name], fs, WINDOW_MS["disc"], noisy.shape[1])
        branch = self.branches[name]
        if not branch:
            raise ValueError(
                f"the fusion has no {name} branch: set separator_conf: {name} to the directory of "
                f"the trained branch, or pass its output (hybridse enhance) as speech_{name}"
            )
        return branch.enhance(noisy) if name == "disc" else generate(branch, noisy, fs)

    def mask(self, spectra: dict[str, torch.Tensor]) -> torch.Tensor:
        """The weight of the discriminative branch, (B, T, F) in (0, 1)."""
        _, level = rms_normalise(spectra["noisy"])
        bins = spectra["noisy"].shape[-1]
        encoded, features = [], []
        with autocast(level.device, self.amp_dtype):
            for name, embedding in zip(self.inputs, self.embedding, strict=False):
                spectrum = compress(spectra[name] / level, 0.3)
                features.append(stack_features(spectrum, dim=1))
                encoded.append(self.transform(self.encoder(features[-1]) + embedding))
            x = torch.stack(encoded).mean(0).permute(0, 2, 3, 1)
            for block in self.blocks:
                x = x + block(x)
        with in_float32(x):
            x = x.float().permute(0, 3, 1, 2)
            if isinstance(self.decoder, BandDecoder):
                return torch.sigmoid(self.decoder(x, features)[:, 0])
            x = self.decoder(x)[:, 0]
        missing = bins - x.shape[-1]
        x = nn.functional.pad(x, (0, max(missing, 0)), mode="replicate")[..., :bins]
        return torch.sigmoid(x)

    def _gen_bins(self, fs: int) -> int:
        """Bins below the generative branch's Nyquist frequency."""
        return min(fs, self.gen_fs) * WINDOW_MS["disc"] // 2000 + (fs <= self.gen_fs)

    def _above_gen_band(self, mask: torch.Tensor, fs: int) -> torch.Tensor:
        """M = 1 where the generative branch has no band."""
        edge = self._gen_bins(fs)
        return torch.cat([mask[..., :edge], torch.ones_like(mask[..., edge:])], dim=-1)

    def _within_gen_band(self, spectrum: torch.Tensor, fs: int) -> torch.Tensor:
        """Zeros where the generative branch has no band: nobody contradicts there."""
        edge = self._gen_bins(fs)
        return torch.cat([spectrum[..., :edge], torch.zeros_like(spectrum[..., edge:])], dim=-1)
