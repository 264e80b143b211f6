"""Room on the disk: asked for before an epoch, not missed after it."""

from pathlib import Path
from typing import Sequence

from torch import nn

from espnet_hybridse.fileio.disk import NO_ROOM, check_room, no_room


def checkpoint_bytes(model: nn.Module, average: bool, moments: int = 2) -> int:
    """Bytes of one `checkpoint.pth`: weights, the optimiser's moments, a moving average.

    Args:
        model: to be trained.
        average: whether a moving average is kept.
        moments: values that the optimiser keeps a parameter; two for Adam and its kin.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return weight_bytes(model) + (moments + average) * trained


def weight_bytes(model: nn.Module) -> int:
    """Bytes of one `<N>epoch.pth`."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


def refuse_full_disk(folder: Path, model: nn.Module, average: bool, keep: Sequence[int]) -> None:
    """Raise if what the rest of the training keeps does not fit beside what is there.

    Kept are two epochs' checkpoints and one within an epoch, the weights of the best epochs and
    of the last, their average; one more of each while it is written.

    Args:
        folder: of the experiment.
        model: to be trained.
        average: whether a moving average is kept.
        keep: ESPnet's keep_nbest_models.

    Raises:
        RuntimeError: naming the bytes needed and free.
    """
    wanted = 4 * checkpoint_bytes(model, average) + (max(keep) + 3) * weight_bytes(model)
    # lstat: links to weights are not weights.
    there = sum(path.lstat().st_size for path in folder.glob("*.pth"))
    one = checkpoint_bytes(model, average) + weight_bytes(model)
    needed = max(wanted - there, one)
    advice = "name another folder (--exp), or lower keep_nbest_models"
    check_room(folder, needed, "the checkpoints of this training", advice)


def explain_full_disk(error: Exception, path: Path) -> Exception:
    """The error to raise where `path` could not be written: one that names the disk if it was that.

    Args:
        error: that writing raised; torch hides the system's own.
        path: of the file.
    """
    chain = [error, error.__context__, error.__cause__]
    codes = [getattr(link, "errno", None) for link in chain]
    if not any(code in NO_ROOM for code in codes) and "PytorchStreamWriter" not in str(error):
        return error
    return RuntimeError(
        f"{path} {no_room(error, path)}. What was there before is untouched: free space and run "
        "the same command again"
    )
