"""Pictures of a trained system: its loss curves and what it does to one utterance."""

from pathlib import Path
from typing import Mapping, Union

import matplotlib
import numpy as np
import soundfile

from espnet_hybridse.curves import read_curves
from espnet_hybridse.lists import atomic_path, read_list

matplotlib.use("Agg")
from matplotlib import mlab  # noqa: E402  (the backend comes first)
from matplotlib import pyplot as plt  # noqa: E402

FLOOR_DB = -80.0


def plot_losses(experiments: Mapping[str, Path], out: Path) -> None:
    """One panel an experiment: training and validation loss by epoch.

    Args:
        experiments: title -> folder with a train.log.
        out: PNG to write.
    """
    figure, axes = plt.subplots(1, len(experiments), figsize=(4 * len(experiments), 3))
    for axis, (title, folder) in zip(np.atleast_1d(axes), experiments.items(), strict=True):
        curves = read_curves(folder / "train.log")
        for mode in ("train", "valid"):
            points = curves[mode].get("loss", [])
            axis.plot(*np.array(points or [(0, np.nan)]).T, marker=".", label=mode)
        axis.set(title=title, xlabel="epoch", ylabel="loss")
        axis.legend()
    save(figure, out)


def plot_utterance(systems: Mapping[str, Union[str, Path]], uid: str, out: Path) -> None:
    """Spectrograms of one utterance, one below the other, on one scale.

    Args:
        systems: title -> list (wav.scp or spk1.scp) that names the utterance.
        uid: which.
        out: PNG to write.

    Raises:
        KeyError: a list does not name `uid`.
    """
    figure, axes = plt.subplots(
        len(systems), 1, figsize=(8, 1.7 * len(systems)), sharex=True, constrained_layout=True
    )
    peak = None
    for axis, (title, scp) in zip(np.atleast_1d(axes), systems.items(), strict=True):
        wav, fs = soundfile.read(read_list(scp)[uid], dtype="float32")
        size = fs // 50
        spectrum, freqs, times = mlab.specgram(wav, size, fs, noverlap=size // 2)
        level = 10 * np.log10(spectrum + 1e-12)
        peak = level.max() if peak is None else peak
        axis.pcolormesh(times, freqs / 1000, level, vmin=peak + FLOOR_DB, vmax=peak, cmap="magma")
        axis.set(ylabel="kHz")
        axis.set_title(title, loc="left", fontsize=9)
    axis.set_xlabel(f"seconds ({uid}, {fs} Hz)")
    save(figure, out)


def save(figure, out: Path) -> None:
    with atomic_path(out) as tmp:
        figure.savefig(tmp, dpi=80, bbox_inches="tight")
    plt.close(figure)
