"""The fusion network: a light USES that weighs both branches bin by bin (paper section 2.3)."""

import logging
from collections import OrderedDict
from typing import Dict, List, Optional, Tuple

import torch
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch import nn

from espnet_hybridse.fusion.attention_block import GridTransformer
from espnet_hybridse.fusion.branches import FrozenBranch, generate
from espnet_hybridse.lengths import by_length
from espnet_hybridse.precision import autocast
from espnet_hybridse.spectrum import WINDOW_MS, compress, rate_of, rms_normalise, stft

INPUTS = ("disc", "gen", "noisy")


class USESFusion(TFGridNetV3):
    """Estimates M and returns M * Y_disc + (1 - M) * Y_gen (paper eq. (1)).

    The paper calls the network a lightweight USES and gives no size: sizes here are our choice,
    and so are the branch embeddings (USES cannot tell its input channels apart), the noisy
    spectrum as third input and the bias that starts the mask at 0.73, on the faithful branch.

    Args:
        input_dim: not used; ESPnet passes the encoder's output size.
        disc: directory of the trained discriminative branch; null when training from dumps.
        gen: directory of the trained generative branch; null when training from dumps.
        channels: C of the network.
        n_blocks: grid blocks.
        hidden: LSTM units per direction.
        n_head: attention heads.
        freq_stride: bins merged into one by the input convolution.
        segment: frames per segment of the time transformer.
        n_memory: memory tokens that link segments.
        use_noisy: whether the noisy spectrum is an input.
        gen_fs: rate of the generative branch in Hz; M is 1 above half of it. 48000 for a
            full-band generative branch.
        amp_dtype: see TFGridNetSFI.
    """

    def __init__(
        self,
        input_dim: int,
        disc: Optional[str] = None,
        gen: Optional[str] = None,
        channels: int = 48,
        n_blocks: int = 3,
        hidden: int = 64,
        n_head: int = 4,
        freq_stride: int = 4,
        segment: int = 64,
        n_memory: int = 20,
        use_noisy: bool = True,
        gen_fs: int = 16000,
        amp_dtype: Optional[str] = None,
    ):
        nn.Module.__init__(self)
        self.branches = {"disc": FrozenBranch(disc), "gen": FrozenBranch(gen)}
        self.inputs = INPUTS if use_noisy else INPUTS[:2]
        self.gen_fs, self.amp_dtype, self.warned = gen_fs, amp_dtype, False
        kernel, padding = (3, 2 * freq_stride), (1, freq_stride // 2)
        self.encoder = nn.Conv2d(3, channels, kernel, (1, freq_stride), padding)
        self.embedding = nn.Parameter(0.1 * torch.randn(len(INPUTS), channels, 1, 1))
        self.transform = nn.Sequential(nn.PReLU(), nn.Conv2d(channels, channels, 1), nn.PReLU())
        self.blocks = nn.ModuleList(
            GridTransformer(channels, hidden, n_head, segment, n_memory) for _ in range(n_blocks)
        )
        self.decoder = nn.ConvTranspose2d(channels, 1, kernel, (1, freq_stride), padding)
        nn.init.zeros_(self.decoder.weight)
        nn.init.ones_(self.decoder.bias)

    @property
    def num_spk(self) -> int:
        return 1

    def decode_in(self, dtype: str) -> None:
        """Type of the generative branch's token decoding; before the branch is first used."""
        self.branches["gen"].decode_dtype = dtype

    def forward(
        self, input: torch.Tensor, ilens: torch.Tensor, additional: Optional[Dict] = None
    ) -> Tuple[List[torch.Tensor], torch.Tensor, OrderedDict]:
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
                if f"speech_{name}" in additional
            }
            fused, mask = self.fuse(part, waveforms)
            masks[rows[:, None], torch.arange(part.shape[1], device=rows.device)[None]] = (
                mask.detach()
            )
            return fused

        fused = by_length(fuse, input, ilens)
        return [fused], ilens, OrderedDict(mask=masks, log_mask=masks.mean())

    def fuse(
        self, noisy: torch.Tensor, waveforms: Dict[str, torch.Tensor]
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """(B, T, F) without padding -> fused spectrum and mask, both (B, T, F)."""
        fs = rate_of(noisy.shape[-1], WINDOW_MS["disc"])
        present = [name for name in self.branches if name in waveforms or self.branches[name]]
        if len(present) == 1 and not self.training:
            return self._alone(present[0], noisy, fs, waveforms)
        spectra = {"noisy": noisy}
        for name in ("disc", "gen"):
            spectra[name] = self._branch(name, noisy, fs, waveforms)
        mask = self.mask(spectra)
        mask = self._above_gen_band(mask, fs)
        return mask * spectra["disc"] + (1 - mask) * spectra["gen"], mask

    def _alone(
        self, name: str, noisy: torch.Tensor, fs: int, waveforms: Dict[str, torch.Tensor]
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """The only branch there is, and the mask that stands for it."""
        if not self.warned:
            other = "gen" if name == "disc" else "disc"
            logging.warning("the fusion has no %s branch: the output is that of %s", other, name)
            self.warned = True
        mask = noisy.real.new_full(noisy.shape, float(name == "disc"))
        return self._branch(name, noisy, fs, waveforms), mask

    def _branch(
        self, name: str, noisy: torch.Tensor, fs: int, waveforms: Dict[str, torch.Tensor]
    ) -> torch.Tensor:
        if name in waveforms:
            return stft(waveforms[name], fs, WINDOW_MS["disc"])[:, : noisy.shape[1]]
        branch = self.branches[name]
        if not branch:
            raise ValueError(
                f"the fusion has no {name} branch: set separator_conf: {name} to the directory of "
                f"the trained branch, or pass its dumped output as speech_{name} (stage 7)"
            )
        return branch.enhance(noisy) if name == "disc" else generate(branch, noisy, fs)

    def mask(self, spectra: Dict[str, torch.Tensor]) -> torch.Tensor:
        """The weight of the discriminative branch, (B, T, F) in (0, 1)."""
        _, level = rms_normalise(spectra["noisy"])
        bins = spectra["noisy"].shape[-1]
        encoded = []
        with autocast(level.device, self.amp_dtype):
            for index, name in enumerate(INPUTS):
                if name not in self.inputs:
                    continue
                spectrum = compress(spectra[name] / level, 0.3)
                features = torch.stack([spectrum.abs(), spectrum.real, spectrum.imag], dim=1)
                encoded.append(self.transform(self.encoder(features) + self.embedding[index]))
            x = torch.stack(encoded).mean(0).permute(0, 2, 3, 1)
            for block in self.blocks:
                x = x + block(x)
            x = self.decoder(x.permute(0, 3, 1, 2))[:, 0]
        missing = bins - x.shape[-1]
        x = nn.functional.pad(x, (0, max(missing, 0)), mode="replicate")[..., :bins]
        return torch.sigmoid(x.float())

    def _above_gen_band(self, mask: torch.Tensor, fs: int) -> torch.Tensor:
        """M = 1 where the generative branch has no band."""
        if fs <= self.gen_fs:
            return mask
        edge = self.gen_fs * WINDOW_MS["disc"] // 2000
        return torch.cat([mask[..., :edge], torch.ones_like(mask[..., edge:])], dim=-1)
