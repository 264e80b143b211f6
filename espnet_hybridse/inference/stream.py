"""Long audio as a stream: blocks in, overlapping pieces out, joined without an audible seam."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

MAX_CHANNELS = 64
"""A first axis longer than this and than the second is samples, not channels."""


def cut_pieces(
    blocks: Iterable[np.ndarray], segment: int, shared: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Cover audio of unknown length with overlapping pieces, all of one length.

    Each shares `shared` samples with the next and is given out as soon as its own samples are
    there; the last one is moved back to end with the audio and shares more, since a short rest
    would give the networks too little context. Audio that is not longer than one piece is a single,
    shorter one. Two pieces' samples are held at most, besides one block.

    Args:
        blocks: (C, T_i) each.
        segment: samples of a piece.
        shared: samples that neighbours share, at most half of `segment`.

    Yields:
        start in samples and the piece (C, segment), or shorter when it is the only one. Nothing for
        audio without samples.

    Raises:
        ValueError: `shared` outside 0 … segment / 2.
    """
    if segment < 1 or not 0 <= shared <= segment // 2:
        raise ValueError(
            f"shared={shared} samples does not lie in 0…{segment // 2}, half of segment={segment}"
        )
    held: np.ndarray | None = None
    begin = start = covered = 0  # of what is held, of the next piece, of what was given out
    for block in blocks:
        for first in range(0, block.shape[1], segment):
            part = block[:, first : first + segment]
            held = part if held is None else np.concatenate([held, part], axis=1)
            while begin + held.shape[1] >= start + segment:
                yield start, held[:, start - begin : start - begin + segment]
                # The last piece is moved back and may begin anywhere after this one's start.
                held, begin = held[:, start - begin :], start
                start, covered = start + segment - shared, start + segment
    if held is not None and begin + held.shape[1] > covered:
        last = max(0, begin + held.shape[1] - segment)
        yield last, held[:, last - begin :]


class CrossFade:
    """Joins processed pieces; holds what the next one shares, whatever the audio's length.

    The two weights of the cross-fade sum to one at every sample (amplitudes, not powers: both
    pieces carry the same speech). Where neighbours share more than `overlap` samples, the fade
    lies in the middle of the shared part, away from both edges, where context was missing. Of a
    last piece that was moved back, what the one before has given out already is left aside.

    Args:
        overlap: length of the raised-cosine fade in samples; 0 puts the pieces end to end.
        shared: samples that neighbours share.

    Attributes:
        done: samples returned so far.

    Raises:
        ValueError: a negative overlap, or more of it than is shared.
    """

    def __init__(self, overlap: int, shared: int):
        if not 0 <= overlap <= shared:
            raise ValueError(
                f"overlap={overlap} samples does not lie in 0…{shared}, what is shared"
            )
        self.overlap = overlap
        self.shared = shared
        self.done = 0
        self._tail: np.ndarray | None = None

    def push(self, start: int, block: np.ndarray) -> np.ndarray:
        """Add the piece (…, T) that begins at sample `start` of the audio.

        Pieces come in the order of :func:`cut_pieces`. Returns the samples (…, T') that no later
        piece can change: all but the last `shared`, which :meth:`rest` returns after the last.

        Raises:
            ValueError: a gap before the piece, or one that ends no later than the one before.
        """
        stop = start + block.shape[-1]
        tail = block[..., :0] if self._tail is None else self._tail
        end = self.done + tail.shape[-1]
        if not (start <= self.done and end < stop):
            raise ValueError(
                f"piece {start}…{stop} does not fit: it must begin at {self.done} or before and "
                f"end after {end}; push pieces in their order"
            )
        joined = self._join(tail, block[..., self.done - start :])
        ready = max(joined.shape[-1] - self.shared, 0)
        self.done += ready
        self._tail = joined[..., ready:]
        return joined[..., :ready]

    def rest(self) -> np.ndarray | None:
        """Return what was held for a piece that did not come; None where none came at all."""
        rest, self._tail = self._tail, None
        self.done += 0 if rest is None else rest.shape[-1]
        return rest

    def _join(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Cross-fade `old` (…, N) into `new` (…, T), which begins with it, N <= T."""
        size = min(self.overlap, old.shape[-1])
        first = (old.shape[-1] - size) // 2
        last = first + size
        rising = fade_in(size).astype(new.dtype)
        before, after = old[..., first:last], new[..., first:last]
        # In this form equal samples come out unchanged to the last bit.
        faded = before + rising * (after - before)
        return np.concatenate([old[..., :first], faded, new[..., last:]], axis=-1)


def cross_faded(
    pieces: Iterable[tuple[int, np.ndarray]], overlap: int, shared: int
) -> Iterator[np.ndarray]:
    """Join (start, piece) as :class:`CrossFade` does, to the end; blocks may be empty."""
    joiner = CrossFade(overlap, shared)
    for start, piece in pieces:
        yield joiner.push(start, piece)
    rest = joiner.rest()
    if rest is not None:
        yield rest


def fade_in(size: int) -> np.ndarray:
    """Return rising weights (size,), symmetric: with their reverse they sum to one."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(size) + 0.5) / max(size, 1))


def resample_blocks(blocks: Iterable[np.ndarray], fs: int, target_fs: int) -> Iterator[np.ndarray]:
    """Resample (C, T_i) blocks as one signal; see :func:`espnet_hybridse.fileio.audio.resample`."""
    if fs == target_fs:
        yield from blocks
        return
    stream: soxr.ResampleStream | None = None
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
    for block in blocks:
        kept = block[:, : max(counted.samples - given, 0)]
        given += kept.shape[1]
        yield kept
    yield np.zeros((counted.channels, counted.samples - given), np.float32)


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


def checked_blocks(blocks: Iterable[np.ndarray], flat: list[bool]) -> Iterator[np.ndarray]:
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
