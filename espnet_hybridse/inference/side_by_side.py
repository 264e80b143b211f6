"""A recording of any length through a hybrid once: its branches, its output and its mask at once.

An :class:`Enhancer` gives one of them; three of them would run every branch twice.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from espnet_hybridse.fileio.audio import nearest_rate
from espnet_hybridse.inference.conditioning import Conditioning
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.stream import (
    Counted,
    checked_blocks,
    cross_faded,
    cut_pieces,
    exact_length,
    resample_blocks,
)

FUSED = "fused"
"""What a hybrid calls its output, in :meth:`Enhancer.branches` too."""
OnMask = Callable[[float, np.ndarray], object]
"""Told the second at which a piece begins and its first channel's mask."""


class SideBySide:
    """The outputs of a model, piece by piece; each is what its own `Enhancer` would give.

    Args:
        enhancer: of a hybrid, else its one output is all there is.

    Attributes:
        names: of the outputs, in the order of the first axis of :meth:`stream`.
    """

    def __init__(self, enhancer: Enhancer):
        self.enhancer = enhancer
        self.names: tuple[str, ...] = (enhancer.loaded.branch,)
        if enhancer.is_hybrid:
            branches = enhancer.model.separator.branches
            self.names = (*(name for name in ("disc", "gen") if branches[name]), FUSED)

    def stream(
        self,
        blocks: Iterable[np.ndarray],
        fs: int,
        share: float = 1.0,
        on_mask: OnMask | None = None,
    ) -> Iterator[np.ndarray]:
        """Enhance a recording; memory does not grow with its length.

        Args:
            blocks: (C, T_i) floats of any sizes, read when needed.
            fs: their rate in Hz.
            share: of the enhanced signals, 0 to 1, as the gate decided; 0 runs no network.
            on_mask: called with each piece's mask (frames of 10 ms, bins of 50 Hz).

        Yields:
            (outputs, C, n) float32, together as long as the input; some may be empty.

        Raises:
            ValueError: as of :meth:`Enhancer.stream`.
        """
        counted = Counted(checked_blocks(blocks, []))
        model_fs = nearest_rate(fs)
        inner = resample_blocks(counted, fs, model_fs)
        segment, overlap, shared = self.enhancer.lengths(model_fs)
        pieces = self._pieces(cut_pieces(inner, segment, shared), model_fs, share, on_mask)
        outer = resample_blocks(cross_faded(pieces, overlap, shared), model_fs, fs)
        for block in exact_length(outer, counted):
            yield block.reshape(len(self.names), counted.channels, block.shape[1])

    def _pieces(
        self,
        pieces: Iterable[tuple[int, np.ndarray]],
        fs: int,
        share: float,
        on_mask: OnMask | None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Starts and pieces (C, T) at a rate of the model -> starts and (outputs * C, T)."""
        one = self.enhancer
        care = Conditioning(fs, one.options.gate != "off")
        share = np.float32(one.options.share * share)
        for start, piece in pieces:
            outputs = [piece] * len(self.names)
            if share:
                heard, known = care.before(piece)
                wet, mask = self._networked(heard, fs)
                if mask is not None and on_mask is not None:
                    on_mask(start / fs, mask)
                outputs = zip(self.names, wet, strict=True)
                wet = [care.after(piece, wave, known, name) for name, wave in outputs]
                outputs = wet if share == 1 else [piece + share * (wave - piece) for wave in wet]
            yield start, np.concatenate(outputs)

    def _networked(self, heard: np.ndarray, fs: int) -> tuple[list[np.ndarray], np.ndarray | None]:
        """Each output (C, T) of a piece, and the first channel's mask, if there is one."""
        if not heard.any():
            return [heard] * len(self.names), None
        if not self.enhancer.is_hybrid:
            return [np.stack(self.enhancer.network([*heard], fs))], None
        parts = self.enhancer.network.parts([*heard], fs)
        # As the network does alone: what is silent stays so.
        sounding = heard.any(-1, keepdims=True)
        return [parts[name] * sounding for name in self.names], parts["mask"][0]
