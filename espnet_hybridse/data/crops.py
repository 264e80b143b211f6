"""Training crops that are exact at every rate and on the 50 Hz grid of the tokens."""

GRID_PER_SECOND = 50
"""Crops start and end on multiples of 20 ms: a whole number of samples at all seven rates."""


def crop_grid(samples: int, fs: int, chunk_s: float, quantum_s: float = 0.5) -> int:
    """Length, in 20 ms steps, of the training crop of an utterance.

    Longer utterances give `chunk_s`; shorter ones are rounded down to a multiple of `quantum_s`,
    so that batches of one length are easy to fill; an utterance below `quantum_s` is kept whole
    (to 20 ms). None is dropped.
    """
    whole = samples * GRID_PER_SECOND // fs
    chunk = round(chunk_s * GRID_PER_SECOND)
    if whole >= chunk:
        return chunk
    quantum = round(quantum_s * GRID_PER_SECOND)
    return whole // quantum * quantum if whole >= quantum else max(whole, 1)
