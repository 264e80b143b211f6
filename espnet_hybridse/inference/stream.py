"""Long audio as a stream: blocks of any size in, overlapping pieces of one size out."""

from typing import Iterable, Iterator, List, Optional, Tuple

import numpy as np
import soxr

MAX_CHANNELS = 64
"""A first axis longer than this and than the second is samples, not channels."""


def cut_pieces(
    blocks: Iterable[np.ndarray], segment: int, overlap: int
) -> Iterator[Tuple[int, np.ndarray, bool]]:
    """The pieces of :func:`plan_segments` without knowing the length beforehand.

    Holds two pieces' samples at most, besides one block.

    Args:
        blocks: (C, T_i) each.
        segment: samples of a piece.
        overlap: samples that neighbours share, at most half of `segment`.

    Yields:
        start in samples, the piece (C, segment) or shorter when it is the only one, and whether it
        is the last. Nothing for audio without samples.

    Raises:
        ValueError: an overlap outside 0 … segment / 2.
    """
    if segment < 1 or not 0 <= overlap <= segment // 2:
        raise ValueError(
            f"overlap={overlap} samples does not lie in 0…{segment // 2}, half of segment={segment}"
        )
    held: Optional[np.ndarray] = None
    begin = start = 0  # of what is held, and of the next piece
    for block in blocks:
        for first in range(0, block.shape[1], segment):
            part = block[:, first : first + segment]
            held = part if held is None else np.concatenate([held, part], axis=1)
            while begin + held.shape[1] > start + segment:
                yield start, held[:, start - begin : start - begin + segment], False
                # The last piece is moved back and may begin anywhere after this one's start.
                held, begin, start = held[:, start - begin :], start, start + segment - overlap
    if held is not None and held.shape[1]:
        length = begin + held.shape[1]
        last = max(0, length - segment)
        yield last, held[:, last - begin :], True


def resample_blocks(blocks: Iterable[np.ndarray], fs: int, target_fs: int) -> Iterator[np.ndarray]:
    """Resample (C, T_i) blocks as one signal; see :func:`espnet_hybridse.fileio.audio.resample`."""
    if fs == target_fs:
        yield from blocks
        return
    stream: Optional[soxr.ResampleStream] = None
    for block in blocks:
        if stream is None:
            nothing = np.zeros((len(block), 0), np.float32)
            stream = soxr.ResampleStream(fs, target_fs, len(block), "float32", quality="VHQ")
        yield _chunk(stream, block, last=False)
    if stream is not None:
        yield _chunk(stream, nothing, last=True)


def _chunk(stream: soxr.ResampleStream, block: np.ndarray, last: bool) -> np.ndarray:
    # soxr takes (T,) of one channel and (T, C) of more.
    samples = np.ascontiguousarray(block[0] if len(block) == 1 else block.T, dtype=np.float32)
    done = stream.resample_chunk(samples, last=last)
    return done[None] if done.ndim == 1 else done.T


def exact_length(blocks: Iterable[np.ndarray], counted: "Counted") -> Iterator[np.ndarray]:
    """Cut or zero-pad a stream so that it ends with `counted.samples` once that is final."""
    given = 0
    kept: Optional[np.ndarray] = None
    for block in blocks:
        if kept is not None:
            yield kept
        kept = block[:, : max(counted.samples - given, 0)]
        given += kept.shape[1]
    if kept is None:
        kept = np.zeros((counted.channels, 0), np.float32)
    yield np.pad(kept, ((0, 0), (0, counted.samples - given)))


class Counted:
    """Passes blocks (C, T_i) on and counts their samples."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks = blocks
        self.samples = self.channels = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            self.channels = len(block)
            self.samples += block.shape[1]
            yield block


def checked(wav: np.ndarray) -> np.ndarray:
    """(T,) or (C, T) floats -> (C, T) float32; ValueError for anything else."""
    if not isinstance(wav, np.ndarray):
        raise ValueError(f"wav is a {type(wav).__name__}; expected a numpy array")
    if not np.issubdtype(wav.dtype, np.floating):
        raise ValueError(
            f"wav holds {wav.dtype}; expected floats from -1 to 1: divide int16 by 32768"
        )
    if wav.ndim == 2 and len(wav) > max(wav.shape[1], MAX_CHANNELS):
        raise ValueError(f"wav has shape {wav.shape}; expected (channels, samples): transpose it")
    if wav.ndim not in (1, 2):
        raise ValueError(f"wav has shape {wav.shape}; expected (T,) or (C, T)")
    if not np.isfinite(wav).all():
        raise ValueError("wav has NaN or Inf samples")
    return np.atleast_2d(wav).astype(np.float32)


def checked_blocks(blocks: Iterable[np.ndarray], flat: List[bool]) -> Iterator[np.ndarray]:
    """Checked (C, T_i) blocks; notes in `flat` whether the first came as (T,)."""
    channels = None
    for block in blocks:
        if not flat:
            flat.append(block.ndim == 1)
        rows = checked(block)
        channels = channels or len(rows)
        if len(rows) != channels:
            raise ValueError(f"a block has {len(rows)} channels, those before had {channels}")
        yield rows
