"""Iterators that tell the preprocessor which epoch they are made for."""

from typing import Optional

from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from torch.utils.data import DataLoader


class EpochIterFactory(SequenceIterFactory):
    """ESPnet's iterator factory; a preprocessor with `set_epoch` learns the epoch.

    ESPnet makes a loader, and with it new workers, for every epoch: what is set here before
    reaches them all, and a resumed training sets it as an uninterrupted one did.
    """

    def build_iter(self, epoch: int, shuffle: Optional[bool] = None) -> DataLoader:
        set_epoch = getattr(self.dataset.preprocess, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        return super().build_iter(epoch, shuffle)
