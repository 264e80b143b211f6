"""Batches of one rate and one length."""

from collections import defaultdict
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np
from espnet2.samplers.abs_sampler import AbsSampler

from espnet_hybridse.data.crops import crop_grid


class RateGroupedSampler(AbsSampler):
    """Every batch holds crops of one sampling rate and one length, so nothing is padded.

    A batch costs about the same at every rate: it holds `batch_size` utterances at 16 kHz and
    fewer above. No utterance is dropped. The order depends on the seed alone.

    Args:
        utt2fs: rate in Hz by utterance.
        lengths: samples by utterance.
        batch_size: utterances per batch at 16 kHz.
        chunk_s: crop in seconds as in the preprocessor; null keeps whole utterances, one a batch.
        shards: `(rank, world_size)` for distributed training; each rank gets every world_size-th
            utterance of each batch.
    """

    def __init__(
        self,
        utt2fs: Mapping[str, int],
        lengths: Mapping[str, int],
        batch_size: int,
        chunk_s: Optional[float],
        shards: Tuple[int, int] = (0, 1),
    ):
        missing = sorted(set(lengths) ^ set(utt2fs))
        if missing:
            raise ValueError(
                f"{len(missing)} utterances stand in only one of utt2fs and the shape file "
                f"(first: {missing[0]}); run stage 3 again"
            )
        self.rank, self.world_size = shards
        self.groups: Dict[Tuple[int, object], List[str]] = defaultdict(list)
        self.sizes: Dict[Tuple[int, object], int] = {}
        for uid in sorted(lengths):
            fs = utt2fs[uid]
            grid = uid if chunk_s is None else crop_grid(lengths[uid], fs, chunk_s)
            self.groups[fs, grid].append(uid)
            size = max(1, round(batch_size * min(1.0, 16000 / fs)), self.world_size)
            self.sizes[fs, grid] = size

    def __len__(self) -> int:
        return sum(-(-len(uids) // self.sizes[key]) for key, uids in self.groups.items())

    def __iter__(self) -> Iterator[Tuple[str, ...]]:
        return iter(self.generate(0))

    def generate(self, seed: int) -> List[Tuple[str, ...]]:
        """The batches of one epoch, every utterance once."""
        rng = np.random.default_rng(seed)
        batches = []
        for key, uids in self.groups.items():
            order = [uids[i] for i in rng.permutation(len(uids))]
            size = self.sizes[key]
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                # A rank without an utterance would hang the others.
                while len(batch) < self.world_size:
                    batch.append(batch[0])
                batches.append(tuple(batch[self.rank :: self.world_size]))
        return batches
