"""Long audio in constant memory: overlapping segments, cross-faded so that no seam is heard."""

import numpy as np

FADES = ("cosine", "linear")


def plan_segments(length: int, segment: int, overlap: int) -> list[tuple[int, int]]:
    """Cover `length` samples with overlapping segments (start, stop), all of one length.

    Each shares `overlap` samples with the next; the last one is moved back to end with the audio
    and shares more, since a short rest would give the networks too little context. Audio that is
    not longer than one segment is a single, shorter one.

    Args:
        length: of the audio, in samples.
        segment: of a segment, in samples.
        overlap: in samples, at most half of `segment`.

    Raises:
        ValueError: a length that is not positive, or an overlap outside 0 … segment / 2.
    """
    if length < 1 or segment < 1:
        raise ValueError(f"length={length} and segment={segment} must be at least 1 sample")
    if not 0 <= overlap <= segment // 2:
        raise ValueError(
            f"overlap={overlap} samples does not lie in 0…{segment // 2}, half of segment={segment}"
        )
    if length <= segment:
        return [(0, length)]
    starts = [*range(0, length - segment, segment - overlap), length - segment]
    return [(start, start + segment) for start in starts]


class OverlapAdd:
    """Joins processed segments; holds one segment's samples, whatever the audio's length.

    The two weights of the cross-fade sum to one at every sample (amplitudes, not powers: both
    segments carry the same speech). Where neighbours share more than `overlap` samples, the fade
    lies in the middle of the shared part, away from both edges, where context was missing.

    Args:
        length: of the whole audio, in samples; None while it is not known: set the attribute
            `length` before the last segment is pushed.
        overlap: length of the cross-fade in samples; 0 puts the segments end to end.
        fade: "cosine" (raised cosine) or "linear".

    Attributes:
        done: samples returned so far; equals `length` once the last segment was pushed.

    Raises:
        ValueError: a fade of another name, or a negative overlap.
    """

    def __init__(self, length: int | None, overlap: int, fade: str = "cosine"):
        if fade not in FADES:
            raise ValueError(f"fade={fade!r} is not one of {', '.join(FADES)}")
        if overlap < 0:
            raise ValueError(f"overlap={overlap} samples must not be negative")
        self.length = length
        self.overlap = overlap
        self.fade = fade
        self.done = 0
        self._tail: np.ndarray | None = None

    def push(self, start: int, block: np.ndarray) -> np.ndarray:
        """Add the segment (…, T) that begins at sample `start` of the audio.

        Segments come in the order of `plan_segments`. Returns the samples (…, T') that no later
        segment can change, possibly none; the last segment returns all that is left.

        Raises:
            ValueError: a gap before the segment, a segment out of order, or one past the end.
        """
        stop = start + block.shape[-1]
        tail = block[..., :0] if self._tail is None else self._tail
        end = self.done + tail.shape[-1]
        length = stop if self.length is None else self.length
        if not self.done <= start <= end < stop <= length:
            raise ValueError(
                f"segment {start}…{stop} does not fit: it must begin within {self.done}…{end} and "
                f"end within {end + 1}…{length} samples; push segments in planned order"
            )
        finished = tail[..., : start - self.done]
        joined = self._join(tail[..., start - self.done :], block)
        self.done = start
        if stop == self.length:
            finished = np.concatenate([finished, joined], axis=-1)
            joined = joined[..., :0]
            self.done = stop
        self._tail = joined
        return finished

    def _join(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Cross-fade `old` (…, N), which ends within `new` (…, T), into `new`, N <= T."""
        shared = old.shape[-1]
        size = min(self.overlap, shared)
        first = (shared - size) // 2
        last = first + size
        rising = fade_in(size, self.fade).astype(new.dtype)
        before, after = old[..., first:last], new[..., first:last]
        # In this form equal samples come out unchanged to the last bit.
        faded = before + rising * (after - before)
        return np.concatenate([old[..., :first], faded, new[..., last:]], axis=-1)


def fade_in(size: int, fade: str) -> np.ndarray:
    """Rising weights (size,), symmetric: with their reverse they sum to one."""
    position = (np.arange(size) + 0.5) / max(size, 1)
    return position if fade == "linear" else 0.5 - 0.5 * np.cos(np.pi * position)
