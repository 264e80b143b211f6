"""Iterators that are the same however many workers, and go on in the middle of an epoch."""

import hashlib
import random
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from torch.utils.data import DataLoader, Dataset

PREFETCH = 2
"""Batches that each worker makes ahead."""

Key = tuple[int, int, Any]
"""Epoch, number of the batch in it, utterance."""


class EpochIterFactory(SequenceIterFactory):
    """ESPnet's iterator factory; random draws of an item depend on its place in the training only.

    ESPnet seeds each worker once an epoch: crops then depend on the number of workers and on
    everything drawn before, so that an epoch could not be resumed in its middle; and it starts new
    workers for every epoch. Here they live as long as the training does. A preprocessor with
    `set_epoch` learns the epoch from the items.
    """

    _loader: DataLoader | None = None

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> DataLoader:
        """The loader of one epoch; its `batch_sampler` is an :class:`EpochBatches`."""
        batches = super().build_iter(epoch, shuffle).batch_sampler
        if self._loader is None:
            options = {}
            if self.num_workers:
                options = {"persistent_workers": True, "prefetch_factor": PREFETCH}
            self._loader = DataLoader(
                dataset=SeededItems(self.dataset, self.seed),
                batch_sampler=EpochBatches(batches, epoch),
                num_workers=self.num_workers,
                pin_memory=self.pin_memory,
                collate_fn=self.collate_fn,
                **options,
            )
        self._loader.batch_sampler.restart(batches, epoch)
        return self._loader


class EpochBatches:
    """The batches of one epoch from `position` on, as keys of :class:`SeededItems`.

    Args:
        batches: utterances, batch by batch.
        epoch: their epoch.
    """

    def __init__(self, batches: Sequence[Sequence[Any]], epoch: int = 1):
        self.restart(batches, epoch)

    def restart(self, batches: Sequence[Sequence[Any]], epoch: int) -> None:
        """Go to the beginning of an epoch."""
        self.batches, self.epoch, self.position = batches, epoch, 0
        self._digest = ""

    def __len__(self) -> int:
        return len(self.batches) - self.position

    def __iter__(self) -> Iterator[list[Key]]:
        for number in range(self.position, len(self.batches)):
            yield [(self.epoch, number, member) for member in self.batches[number]]

    def digest(self) -> str:
        """Sha256 of the whole epoch: a position in other batches means nothing."""
        if not self._digest:
            digest = hashlib.sha256()
            for batch in self.batches:
                digest.update(f"{[str(member) for member in batch]}".encode())
            self._digest = digest.hexdigest()
        return self._digest


class SeededItems(Dataset):
    """A dataset whose NumPy and Python draws depend on (seed, epoch, batch, utterance) alone.

    Args:
        dataset: as ESPnet's.
        seed: of the training.
    """

    def __init__(self, dataset: Any, seed: int):
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: Key) -> Any:
        epoch, number, member = key
        set_epoch = getattr(self.dataset.preprocess, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        name = zlib.crc32(str(member).encode())
        words = np.random.SeedSequence([self.seed, epoch, number, name])
        # Without workers this is the training process, whose own draws must not repeat.
        before = np.random.get_state(), random.getstate()
        np.random.seed(words.generate_state(4))
        random.seed(int(words.generate_state(1)[0]))
        try:
            return self.dataset[member]
        finally:
            np.random.set_state(before[0])
            random.setstate(before[1])
