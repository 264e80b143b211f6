"""Batches of one rate and one length."""

from collections import defaultdict
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np
from espnet2.samplers.abs_sampler import AbsSampler

from espnet_hybridse.data.crops import GRID_PER_SECOND, crop_grid


class RateGroupedSampler(AbsSampler):
    """Every batch holds crops of one sampling rate and one length, so nothing is padded.

    A batch costs about the same at every rate: it holds `batch_size` utterances at 16 kHz and
    fewer above. No utterance is dropped. The order depends on the seed alone, which is all that
    ESPnet needs to resume, as it does at the start of an epoch; a loop of one's own resumes
    anywhere with `state_dict`.

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
        self.chunk_s = chunk_s
        self.groups: Dict[Tuple[int, object], List[str]] = defaultdict(list)
        self.sizes: Dict[Tuple[int, object], int] = {}
        for uid in sorted(lengths):
            fs = utt2fs[uid]
            grid = uid if chunk_s is None else crop_grid(lengths[uid], fs, chunk_s)
            self.groups[fs, grid].append(uid)
            size = max(1, round(batch_size * min(1.0, 16000 / fs)), self.world_size)
            self.sizes[fs, grid] = size
        self.lengths = dict(lengths)
        self.seed = self.position = 0

    def __len__(self) -> int:
        return sum(-(-len(uids) // self.sizes[key]) for key, uids in self.groups.items())

    def __iter__(self) -> Iterator[Tuple[str, ...]]:
        """The batches left of one epoch; after its last, the next epoch's seed is one more."""
        batches = self.generate(self.seed)
        while self.position < len(batches):
            self.position += 1
            yield batches[self.position - 1]
        self.seed, self.position = self.seed + 1, 0

    def state_dict(self) -> Dict[str, int]:
        """Seed of the epoch and how many of its batches have been given out."""
        return {"seed": self.seed, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises:
            ValueError: the position lies outside the epoch: other lists or another batch size.
        """
        if not 0 <= state["position"] <= len(self):
            raise ValueError(
                f"position {state['position']} is outside the {len(self)} batches of an epoch; the "
                "state was taken with other lists or another batch size"
            )
        self.seed, self.position = state["seed"], state["position"]

    def summary(self) -> str:
        """One line for the log: batches, hours by rate, what is padded and what is cut off.

        Cut off by rounding is audio of utterances shorter than the crop, which no epoch sees.
        """
        hours: Dict[int, float] = defaultdict(float)
        cut = 0.0
        for (fs, grid), uids in self.groups.items():
            for uid in uids:
                seconds = self.lengths[uid] / fs
                hours[fs] += seconds / 3600
                if not isinstance(grid, str) and seconds < self.chunk_s:
                    cut += max(seconds - grid / GRID_PER_SECOND, 0.0)
        total = sum(hours.values())
        rates = ", ".join(f"{fs / 1000:g}k {hours[fs]:.2f} h" for fs in sorted(hours))
        return (
            f"{len(self)} batches of {len(self.lengths)} utterances, {rates}; padding 0 %, "
            f"cut off by rounding {cut / 36 / max(total, 1e-9):.1f} %"
        )

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
