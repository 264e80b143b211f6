"""Generators of many rows at once: what NumPy's SeedSequence gives, computed for whole blocks.

Building `np.random.SeedSequence([seed, index])` anew for every row would take a third of the time
of drawing it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.random import PCG64, Generator
from numpy.random.bit_generator import ISeedSequence

BLOCK = 4096
MASK = 0xFFFFFFFF
POOL = 4
INIT_A, MULT_A = 0x43B0D7E5, 0x931E8875
INIT_B, MULT_B = 0x8B51F9DD, 0x58F38DED
MIX_L, MIX_R = 0xCA01F9DD, 0x4973F715
"""Constants of the published algorithm (O'Neill's seed_seq, as NumPy documents it)."""


class ReadyState(ISeedSequence):
    """Hands a state that is computed already to a bit generator."""

    def __init__(self, words: np.ndarray):
        self.words = words

    def generate_state(self, n_words, dtype=np.uint32):
        return self.words


def row_generators(seed: int, start: int, stop: int) -> Iterator[tuple[int, Generator, int]]:
    """Yield (index, generator, number) for the rows from `start` up to `stop`.

    The generator equals `np.random.default_rng(np.random.SeedSequence([seed, index]))`; the number
    has 63 bits and seeds whatever is done with the row later.

    Raises:
        ValueError: seed or index needs more than 32 bits.
    """
    if not (0 <= seed <= MASK and 0 <= start <= stop <= MASK + 1):
        raise ValueError(f"seed={seed}, rows {start} to {stop}; accepted: 0 to {MASK}")
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        states = seed_states(seed, np.arange(first, last, dtype=np.uint64))
        for index, state in zip(range(first, last), states, strict=True):
            yield index, Generator(PCG64(ReadyState(state))), int(state[0]) >> 1


def seed_states(seed: int, indices: np.ndarray) -> np.ndarray:
    """`SeedSequence([seed, index]).generate_state(4, np.uint64)` of each index: (N, 4) uint64."""
    hashing = _Hash(INIT_A, MULT_A)
    words = [np.full(indices.size, seed, np.uint32), indices.astype(np.uint32)]
    words += [np.zeros(indices.size, np.uint32)] * (POOL - len(words))
    pool = [hashing(word) for word in words]
    for source in range(POOL):
        for target in range(POOL):
            if source != target:
                pool[target] = _mix(pool[target], hashing(pool[source]))
    hashing = _Hash(INIT_B, MULT_B)
    state = np.stack([hashing(pool[word % POOL]) for word in range(2 * POOL)], axis=1)
    # Two 32-bit words make one of 64 bits, the lower one first whatever the machine's order.
    return state[:, 0::2].astype(np.uint64) | (state[:, 1::2].astype(np.uint64) << np.uint64(32))


class _Hash:
    """The multiplicative hash whose constant moves on with every call."""

    def __init__(self, constant: int, multiplier: int):
        self.constant, self.multiplier = constant, multiplier

    def __call__(self, words: np.ndarray) -> np.ndarray:
        words = words ^ np.uint32(self.constant)
        self.constant = self.constant * self.multiplier & MASK
        words = words * np.uint32(self.constant)
        return words ^ (words >> np.uint32(16))


def _mix(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    words = left * np.uint32(MIX_L) - right * np.uint32(MIX_R)
    return words ^ (words >> np.uint32(16))
