"""Enhancement of waveforms of any rate and length with a trained model."""

from collections.abc import Iterable, Iterator, Sequence
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_hybridse.fileio.audio import RATES, nearest_rate
from espnet_hybridse.inference.conditioning import Conditioning, RunningGate
from espnet_hybridse.inference.gate import Decision, decide_whole
from espnet_hybridse.inference.network import Network
from espnet_hybridse.inference.options import Options, piece_of
from espnet_hybridse.inference.second_look import Loudest, change_db, most_of, reconsidered
from espnet_hybridse.inference.shared_gain import apply_gain, reference
from espnet_hybridse.inference.speech_detector import speech_detector
from espnet_hybridse.inference.stream import (
    Counted,
    checked,
    checked_blocks,
    cross_faded,
    cut_pieces,
    exact_length,
    resample_blocks,
)
from espnet_hybridse.model.build import SpeechModel
from espnet_hybridse.model.files import ModelFiles
from espnet_hybridse.model.find import find_model
from espnet_hybridse.model.loading import LoadedModel, load_model
from espnet_hybridse.plugin import find_class

Wav = np.ndarray | torch.Tensor


class Enhancer:
    """A trained branch or hybrid as a function of waveforms; may be shared by threads.

    Example:
        >>> enhancer = Enhancer.from_pretrained("exp/hybrid_mini")
        >>> clean = enhancer(noisy, fs)

    Args:
        loaded: the model and its configuration.
        device: torch device.
        options: everything else; None takes the defaults.
        given: single options of :class:`Options` instead, as in `segment_s=5.0`.

    Raises:
        ValueError: as of :class:`Options`; or a `decode_dtype` for a model that decodes nothing, a
            `safety` out of its range or for a model that is no hybrid.
        TypeError: a name that is no option.
        AssetMissing, AssetCorrupt: the gate's speech detector is not there.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        device: str = "cpu",
        options: Options | None = None,
        **given: Any,
    ):
        self.options = options = options or Options.of(given)
        piece_s = piece_of(loaded.config) if options.segment_s is None else options.segment_s
        self.segment_s, self.overlap_s, self.lookahead_s = options.seconds(piece_s)
        self.network = Network(loaded, device, options)
        self.clean_change_db = most_of(loaded.config)
        if options.gate != "off":
            speech_detector()  # what it lacks is said before the first file
        if options.safety is not None:
            self._hybrid("safety").set_safety(options.safety, options.safety_to)

    @classmethod
    def from_pretrained(
        cls,
        source: ModelFiles | str | Path | None = None,
        branch: str | None = None,
        device: str = "cpu",
        options: Options | None = None,
        **given: Any,
    ) -> "Enhancer":
        """Load a trained model.

        Args:
            source: an experiment or release folder, a zip made by `hybridse pack` or
                `espnet2.bin.pack`, or the id OWNER/NAME of a model hub; None takes the model that
                comes with a checkout of the repository.
            branch: "hybrid", "disc" or "gen" of a model that has several; None takes the hybrid.
            device, options, given: as the constructor's.
        """
        return cls(load_model(find_model(source, branch), find_class), device, options, **given)

    @property
    def loaded(self) -> LoadedModel:
        """Return the model and its configuration."""
        return self.network.loaded

    @property
    def model(self) -> SpeechModel:
        """The ESPnet model."""
        return self.network.model

    @property
    def device(self) -> torch.device:
        """Where it runs now."""
        return self.network.device

    @property
    def batch(self) -> int:
        """Rows processed at once now."""
        return self.network.batch

    def __call__(self, wav: Wav, fs: int) -> Wav:
        """Enhance (T,) or (C, T) floats; the result has the input's type, shape and rate.

        Rates outside the seven are resampled to the next higher one and back. Silence stays
        silence.

        Raises:
            ValueError: another shape, integer samples, or NaN or Inf among them.
        """
        if isinstance(wav, torch.Tensor):
            return torch.from_numpy(self(_as_numpy(wav), fs)).to(wav)
        rows = checked(wav)
        if not wav.size:
            return wav.copy()
        share = self.share_of(rows, fs)
        done = np.concatenate(list(self.stream([rows], fs, share, live=False)), axis=-1)
        return done.reshape(wav.shape).astype(wav.dtype)

    def many(
        self, wavs: Sequence[Wav], fs: int, shares: Sequence[float] | None = None
    ) -> list[Wav]:
        """Enhance several waveforms of one rate; the same as one by one, but faster.

        Args:
            wavs: as of a call, of any lengths.
            fs: their rate in Hz.
            shares: of the enhanced signal in each; None leaves that to the gate.
        """
        size = round(self.segment_s * fs)
        short = {
            index: checked(wav)
            for index, wav in enumerate(wavs)
            if isinstance(wav, np.ndarray) and wav.ndim == 1 and 0 < wav.size <= size
        }
        together = list(short) if fs in RATES else []
        rows = [short[index] for index in together]
        given = [None if shares is None else shares[index] for index in together]
        taken = [self.share_of(row, fs, share) for row, share in zip(rows, given, strict=True)]
        care = [Conditioning(fs, self.options.gate != "off") for _ in rows]
        done = dict(zip(together, self._pieces(rows, fs, care, taken), strict=True))
        return [
            done[index][0].astype(wav.dtype) if index in done else self(wav, fs)
            for index, wav in enumerate(wavs)
        ]

    def share_of(self, rows: np.ndarray, fs: int, share: float | None = None) -> float:
        """Share of the enhanced signal in a recording (C, T): `share`, or what the gate says."""
        if share is not None or self.options.gate == "off":
            return 1.0 if share is None else share
        loudest = Loudest(fs)
        loudest.add(rows)
        return self.look_again(decide_whole(rows, fs), loudest).share

    def look_again(self, decision: Decision, loudest: Loudest) -> Decision:
        """The gate's decision after the network has heard the loudest of what seems to be clean."""
        most = self.clean_change_db
        if most is None or decision.share == 1.0 or not decision.measures or not self.options.share:
            return decision
        return reconsidered(decision, self.change_of(loudest) - decision.measures.level_db, most)

    def change_of(self, loudest: Loudest) -> float:
        """Power of what the network changes in the loudest of a recording, in dB re full scale."""
        if loudest.change_db is None:
            dry = loudest.wav()
            wet = np.concatenate(list(self.stream([dry], loudest.fs, 1.0, live=False)))
            loudest.change_db = change_db(dry, wet) - 20 * log10(self.options.share)
        return loudest.change_db

    def stream(
        self,
        blocks: Iterable[np.ndarray],
        fs: int,
        share: float | None = None,
        live: bool = True,
    ) -> Iterator[np.ndarray]:
        """Enhance audio of any length in constant memory, block by block.

        Args:
            blocks: (T_i,) or (C, T_i) floats of any sizes, read when needed.
            fs: their rate in Hz.
            share: of the enhanced signal, 0 to 1, where the gate has heard the whole before; None
                lets it decide by what was heard so far.
            live: whether each segment is enhanced as soon as it is there; else `batch` of them
                are waited for, which is faster where tokens are decoded.

        Yields:
            Blocks of the same number of axes, together as long as the input. The first comes
            after one segment of input (not live: after `batch` of them), without what it shares
            with the next.

        Raises:
            ValueError: as of a call, or another number of channels in a later block.
        """
        flat: list[bool] = []
        counted = Counted(checked_blocks(blocks, flat))
        model_fs = nearest_rate(fs)
        share = 1.0 if self.options.gate == "off" else share
        gate = RunningGate(counted, fs, share, self.look_again)
        inner = resample_blocks(gate, fs, model_fs)
        segment, overlap, shared = self.lengths(model_fs)
        pieces = self._enhanced(cut_pieces(inner, segment, shared), model_fs, gate, live)
        outer = resample_blocks(cross_faded(pieces, overlap, shared), model_fs, fs)
        for block in exact_length(outer, counted):
            if block.shape[1]:
                yield block[0] if flat[0] else block

    def lengths(self, fs: int) -> tuple[int, int, int]:
        """Samples of a piece, of its cross-fade and of what it shares with the next, at `fs` Hz.

        The fade lies in the middle of what is shared; the rest of that is heard alone.
        """
        segment, overlap = round(self.segment_s * fs), round(self.overlap_s * fs)
        return segment, overlap, min(overlap + 2 * round(self.lookahead_s * fs), segment // 2)

    def _enhanced(
        self, pieces: Iterable[tuple[int, np.ndarray]], fs: int, gate: RunningGate, live: bool
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Starts and pieces (C, T) at a rate of the model -> the same, enhanced."""
        care = Conditioning(fs, self.options.gate != "off")

        def finished(waiting: list[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
            count = len(waiting)
            starts, heard = [start for start, _ in waiting], [piece for _, piece in waiting]
            done = self._pieces(heard, fs, [care] * count, [gate.share()] * count)
            return zip(starts, done, strict=True)

        waiting: list[tuple[int, np.ndarray]] = []
        for start, piece in pieces:
            waiting.append((start, piece))
            rows = 1 if self.options.shared_mask else len(piece)
            if live or len(waiting) * rows >= self.batch:
                yield from finished(waiting)
                waiting = []
        if waiting:
            yield from finished(waiting)

    def _pieces(
        self,
        dry: list[np.ndarray],
        fs: int,
        care: list[Conditioning],
        shares: list[float],
    ) -> list[np.ndarray]:
        """Enhance pieces (C, T), each with the care and the share of its recording."""
        if not any(shares) or not self.options.share:
            return dry
        prepared = [one.before(piece) for one, piece in zip(care, dry, strict=True)]
        wet = self._networked([piece for piece, _ in prepared], fs)
        finished = [
            one.after(piece, enhanced, known)
            for one, piece, enhanced, (_, known) in zip(care, dry, wet, prepared, strict=True)
        ]
        return [
            _mixed(piece, enhanced, self.options.share * share)
            for piece, enhanced, share in zip(dry, finished, shares, strict=True)
        ]

    def _networked(self, pieces: list[np.ndarray], fs: int) -> list[np.ndarray]:
        """What the network makes of pieces (C, T)."""
        if self.options.shared_mask and len(pieces[0]) > 1:
            average = [reference(piece) for piece in pieces]
            enhanced = self.network(average, fs)
            return [
                apply_gain(piece, before, after, fs)
                for piece, before, after in zip(pieces, average, enhanced, strict=True)
            ]
        rows = iter(self.network([row for piece in pieces for row in piece], fs))
        return [np.stack([next(rows) for _ in piece]) for piece in pieces]

    def branches(self, wav: Wav, fs: int) -> dict[str, Wav]:
        """What a hybrid's output is made of, for analysis; the audio is processed in one piece.

        Args:
            wav: (T,) of one of the seven rates, numpy or torch.
            fs: its rate in Hz.

        Returns:
            {"disc", "gen", "fused": (T,) waveforms, "mask": (frames of 10 ms, bins of 50 Hz)}; a
            branch that the model lacks is left out.

        Raises:
            ValueError: the model is no hybrid, another rate or shape, or as of a call.
        """
        if isinstance(wav, torch.Tensor):
            parts = self.branches(_as_numpy(wav), fs)
            return {name: torch.from_numpy(part).to(wav) for name, part in parts.items()}
        self._hybrid("branches()")
        if fs not in RATES:
            raise ValueError(f"fs={fs} Hz is not one of {RATES}; resample the audio first")
        rows = checked(wav)
        if wav.ndim != 1 or not wav.size:
            raise ValueError(f"wav has shape {wav.shape}; expected (T,): pass one channel")
        care = Conditioning(fs, self.options.gate != "off")
        heard, known = care.before(rows)
        parts = self.network.parts([*heard], fs)
        [mask] = parts.pop("mask")
        return {
            **{name: care.after(rows, wave, known, name)[0] for name, wave in parts.items()},
            "mask": mask,
        }

    @property
    def is_hybrid(self) -> bool:
        """Whether the model fuses two branches."""
        return hasattr(self.model.separator, "set_safety")

    def _hybrid(self, what: str) -> Any:
        if not self.is_hybrid:
            raise ValueError(f"{what}: this model ({self.loaded.branch}) is no hybrid")
        return self.model.separator


def _mixed(dry: np.ndarray, wet: np.ndarray, share: float) -> np.ndarray:
    return wet if share == 1.0 else dry + np.float32(share) * (wet - dry)


def _as_numpy(wav: torch.Tensor) -> np.ndarray:
    # numpy has no bfloat16.
    return (wav.float() if wav.dtype == torch.bfloat16 else wav).detach().cpu().numpy()
