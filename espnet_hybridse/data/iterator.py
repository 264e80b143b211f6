"""Iterators that are the same however many workers, and go on in the middle of an epoch."""

import hashlib
import random
import zlib
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from torch.utils.data import DataLoader, Dataset


class EpochIterFactory(SequenceIterFactory):
    """ESPnet's iterator factory; random draws of an item depend on its place in the training only.

    ESPnet seeds each worker once an epoch: crops then depend on the number of workers and on
    everything drawn before, so that an epoch could not be resumed in its middle. A preprocessor
    with `set_epoch` learns the epoch. ESPnet makes a loader, and with it new workers, for every
    epoch: what is set here before reaches them all.
    """

    def build_iter(self, epoch: int, shuffle: Optional[bool] = None) -> DataLoader:
        """The loader of one epoch; its `batch_sampler` is an :class:`EpochBatches`."""
        set_epoch = getattr(self.dataset.preprocess, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        loader = super().build_iter(epoch, shuffle)
        return DataLoader(
            dataset=SeededItems(self.dataset, (self.seed, epoch)),
            batch_sampler=EpochBatches(loader.batch_sampler),
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
            collate_fn=loader.collate_fn,
        )


class EpochBatches:
    """The batches of one epoch from `position` on; each key is `(number of its batch, uid)`.

    Args:
        batches: uids, batch by batch.
    """

    def __init__(self, batches: Sequence[Sequence[str]]):
        self.batches, self.position = batches, 0
        self._digest = ""

    def __len__(self) -> int:
        return len(self.batches) - self.position

    def __iter__(self) -> Iterator[List[Tuple[int, str]]]:
        for number in range(self.position, len(self.batches)):
            yield [(number, uid) for uid in self.batches[number]]

    def digest(self) -> str:
        """Sha256 of the whole epoch: a position in other batches means nothing."""
        if not self._digest:
            self._digest = hashlib.sha256(repr(list(self.batches)).encode()).hexdigest()
        return self._digest


class SeededItems(Dataset):
    """A dataset whose NumPy and Python draws depend on (seed, epoch, batch, utterance) alone.

    Args:
        dataset: as ESPnet's, taken by uid.
        seeds: (seed, epoch).
    """

    def __init__(self, dataset: Any, seeds: Tuple[int, int]):
        self.dataset, self.seeds = dataset, seeds

    def __getitem__(self, key: Tuple[int, str]) -> Any:
        number, uid = key
        words = np.random.SeedSequence([*self.seeds, number, zlib.crc32(str(uid).encode())])
        # Without workers this is the training process, whose own draws must not repeat.
        before = np.random.get_state(), random.getstate()
        np.random.seed(words.generate_state(4))
        random.seed(int(words.generate_state(1)[0]))
        try:
            return self.dataset[uid]
        finally:
            np.random.set_state(before[0])
            random.setstate(before[1])
