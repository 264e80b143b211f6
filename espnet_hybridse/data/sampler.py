"""Batches of one rate and one length, and the crops that make such batches possible."""

from collections import defaultdict

import numpy as np
from espnet2.samplers.abs_sampler import AbsSampler

GRID_PER_SECOND = 50
"""Crops start and end on multiples of 20 ms: a whole number of samples at all seven rates, and the
grid of the tokens."""
QUANTUM_S = 0.5
REFERENCE_FS = 16000


def crop_grid(samples, fs, chunk_s: float, quantum_s: float = QUANTUM_S):
    """Length, in 20 ms steps, of the training crop of an utterance, or of (N,) utterances.

    Longer utterances give `chunk_s`; shorter ones are rounded down to a multiple of `quantum_s`,
    so that batches of one length are easy to fill; an utterance below `quantum_s` is kept whole
    (to 20 ms). None is dropped.

    Args:
        samples: number, or (N,).
        fs: rate in Hz, or (N,).
        chunk_s, quantum_s: seconds.
    """
    whole = np.asarray(samples, np.int64) * GRID_PER_SECOND // fs
    chunk, quantum = round(chunk_s * GRID_PER_SECOND), round(quantum_s * GRID_PER_SECOND)
    rounded = np.where(whole >= quantum, whole // quantum * quantum, np.maximum(whole, 1))
    steps = np.where(whole >= chunk, chunk, rounded)
    return steps if steps.ndim else int(steps)


class RateGroupedSampler(AbsSampler):
    """Every batch holds crops of one sampling rate and one length, so nothing is padded.

    A batch costs about the same at every rate: each process gets `batch_per_gpu` utterances at up
    to 16 kHz and fewer above. No utterance is dropped. The order depends on the seed alone.

    Args:
        fs: (N,) rates in Hz.
        samples: (N,) lengths.
        batch_per_gpu: utterances of one process's batch at up to 16 kHz.
        chunk_s: crop in seconds as in the preprocessor; null keeps whole utterances, of which each
            process gets one.
        shards: `(rank, world_size)` for distributed training; each rank gets every world_size-th
            utterance of each batch.
    """

    def __init__(
        self,
        fs: np.ndarray,
        samples: np.ndarray,
        batch_per_gpu: int,
        chunk_s: float | None,
        shards: tuple[int, int] = (0, 1),
    ):
        if batch_per_gpu < 1:
            raise ValueError(f"batch_per_gpu={batch_per_gpu}: expected 1 or more utterances")
        self.fs, self.samples = np.asarray(fs), np.asarray(samples, np.int64)
        self.rank, self.world_size = shards
        self.chunk_s = chunk_s
        self.grid = None if chunk_s is None else crop_grid(self.samples, self.fs, chunk_s)
        # A batch is (members, how many of them it takes of all processes).
        self.groups: list[tuple[np.ndarray, int]] = []
        if self.grid is None:
            # Those of about one length stand together: the others of a batch would wait for one.
            order = np.lexsort((self.samples, self.fs))
            for rate in np.unique(self.fs):
                members = order[self.fs[order] == rate]
                self.groups.append((members.astype(np.int32), self.world_size))
            return
        kinds, kind_of = np.unique(np.stack([self.fs, self.grid]), axis=1, return_inverse=True)
        order = np.argsort(kind_of.ravel(), kind="stable").astype(np.int32)
        bounds = np.searchsorted(kind_of.ravel()[order], np.arange(kinds.shape[1] + 1))
        for number, rate in enumerate(kinds[0]):
            each = max(1, round(batch_per_gpu * min(1.0, REFERENCE_FS / rate)))
            members = order[bounds[number] : bounds[number + 1]]
            self.groups.append((members, each * self.world_size))

    def __len__(self) -> int:
        return sum(-(-len(members) // size) for members, size in self.groups)

    def __iter__(self):
        return iter(self.generate(0))

    def summary(self) -> str:
        """One line for the log: batches, hours by rate, what is padded and what is cut off.

        Cut off by rounding is audio of utterances shorter than the crop, which no epoch sees.
        """
        seconds = self.samples / self.fs
        hours: dict[int, float] = defaultdict(float)
        for rate in np.unique(self.fs):
            hours[int(rate)] = seconds[self.fs == rate].sum() / 3600
        cut = 0.0
        if self.grid is not None:
            short = seconds < self.chunk_s
            cut = np.maximum(seconds - self.grid / GRID_PER_SECOND, 0.0)[short].sum()
        rates = ", ".join(f"{fs / 1000:g}k {hours[fs]:.2f} h" for fs in sorted(hours))
        return (
            f"{len(self)} batches of {len(self.samples)} utterances, {rates}; padding 0 %, "
            f"cut off by rounding {100 * cut / max(seconds.sum(), 1e-9):.1f} %"
        )

    def generate(self, seed: int) -> list[np.ndarray]:
        """This process's batches of one epoch, as numbers of utterances; each of them once."""
        rng = np.random.default_rng(seed)
        batches = []
        for members, size in self.groups:
            order = rng.permutation(members) if self.grid is not None else members
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                # A rank without an utterance would hang the others.
                if len(batch) < self.world_size:
                    batch = np.resize(batch, self.world_size)
                batches.append(batch[self.rank :: self.world_size])
        return batches
