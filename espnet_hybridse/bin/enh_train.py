"""`python -m espnet_hybridse.bin.enh_train`: every option of `espnet2.bin.enh_train`."""

import os

from espnet_hybridse.runtime.workers import PARENT_VARIABLE, end_with
from espnet_hybridse.training.task import HybridEnhancementTask


def get_parser():
    """The parser of the training command."""
    return HybridEnhancementTask.get_parser()


def main(cmd=None):
    """Train one branch; `cmd` is a list of arguments, by default the command line's."""
    if PARENT_VARIABLE in os.environ:  # started by `hybridse train`: a kill of it ends us too
        end_with(int(os.environ.pop(PARENT_VARIABLE)))
    HybridEnhancementTask.main(cmd=cmd)


if __name__ == "__main__":
    main()
