"""What an utterance of a simulated set went through: its rate and its distortions."""

import logging
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.lists import ListError
from espnet_hybridse.simulation.meta import iter_meta
from espnet_hybridse.simulation.set_lists import distortion_label

META = "meta.tsv"


def labels_of(folder: Path, uids: np.ndarray, fs: np.ndarray) -> dict[str, tuple[str, ...]]:
    """Labels of the utterances, such as `16k` and `packet_loss`, by key.

    Args:
        folder: of the set; without a `meta.tsv` that can be read, rates are all that is known.
        uids: (N,) bytes.
        fs: (N,) rates in Hz.
    """
    names = [uid.decode("utf-8") for uid in uids]
    labels = {uid: (f"{rate / 1000:g}k",) for uid, rate in zip(names, fs.tolist(), strict=True)}
    try:
        for sample in iter_meta(folder / META) if (folder / META).is_file() else ():
            if sample.id in labels:
                labels[sample.id] += tuple(distortion_label(sample).split("+"))
    except (ListError, ValueError) as error:
        logging.warning(f"validation is not told by distortion: {error}")
    return labels
