"""Pictures of utterances: spectrograms of every signal, and the mask of a hybrid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.decode import read_samples
from espnet_hybridse.fileio.lists import atomic_path

FLOOR_DB = -80.0


def pyplot():
    """matplotlib's figures without a screen, imported where the first one is drawn.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ValueError(f"{error}; pip install 'espnet_hybridse[recipe]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot_utterance(files: Mapping[str, str | Path], uid: str, out: Path) -> None:
    """Spectrograms of one utterance, one below the other, on one scale.

    Args:
        files: title -> audio file; of several channels the first is shown.
        uid: what the utterance is called.
        out: PNG to write.

    Raises:
        BadAudio: a file cannot be read.
    """
    figure, axes = pyplot().subplots(
        len(files), 1, figsize=(8, 1.7 * len(files)), sharex=True, constrained_layout=True
    )
    peak = None
    for axis, (title, file) in zip(np.atleast_1d(axes), files.items(), strict=True):
        samples, fs = read_samples(file)
        level, freqs, times = power_db(samples[0], fs)
        peak = level.max() if peak is None else peak
        axis.pcolormesh(times, freqs / 1000, level, vmin=peak + FLOOR_DB, vmax=peak, cmap="magma")
        axis.set(ylabel="kHz")
        axis.set_title(title, loc="left", fontsize=9)
    axis.set_xlabel(f"seconds ({uid}, {fs} Hz)")
    save(figure, out)


@dataclass(frozen=True)
class Picture:
    """One panel: the spectrogram of a waveform (T,) or a mask (frames of 10 ms, bins of 50 Hz)."""

    title: str
    wave: np.ndarray | None = None
    mask: np.ndarray | None = None


def plot_branches(columns: Mapping[str, tuple[int, Sequence[Picture]]], out: Path) -> None:
    """A column an utterance, a row a signal; each column has the scale of its first waveform.

    Args:
        columns: heading -> (fs in Hz, pictures from top to bottom).
        out: PNG to write.
    """
    rows = max(len(pictures) for _, pictures in columns.values())
    size = (3.6 * len(columns), 1.6 * rows)
    figure, axes = pyplot().subplots(
        rows, len(columns), figsize=size, squeeze=False, sharex="col", constrained_layout=True
    )
    for panels, (heading, (fs, pictures)) in zip(axes.T, columns.items(), strict=True):
        peak = None
        panels[0].set_title(heading, fontsize=8)
        for axis, picture in zip(panels, pictures, strict=False):
            if picture.mask is not None:
                extent = (0, len(picture.mask) / 100, 0, fs / 2000)
                image = picture.mask.T
                drawn = axis.imshow(
                    image, origin="lower", aspect="auto", extent=extent, vmin=0, vmax=1
                )
                figure.colorbar(drawn, ax=axis, fraction=0.04)
            else:
                level, freqs, times = power_db(picture.wave, fs)
                peak = level.max() if peak is None else peak
                scale = {"vmin": peak + FLOOR_DB, "vmax": peak, "cmap": "magma"}
                axis.pcolormesh(times, freqs / 1000, level, rasterized=True, **scale)
            axis.set_ylabel(f"{picture.title}\n(kHz)", fontsize=8)
        for axis in panels[len(pictures) :]:
            axis.set_axis_off()
        panels[len(pictures) - 1].set_xlabel("seconds")
    save(figure, out)


def power_db(wav: np.ndarray, fs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectrogram in dB (F, T), frequencies in Hz, times in s; windows of 20 ms every 10 ms."""
    size = fs // 50  # odd at 22.05 kHz, where the hop is the lower half
    padded = np.pad(wav, (0, max(size - wav.size, 0)))
    from matplotlib import mlab

    spectrum, freqs, times = mlab.specgram(padded, size, fs, noverlap=size - size // 2)
    return 10 * np.log10(spectrum + 1e-12), freqs, times


def save(figure, out: Path, dpi: int = 80) -> None:
    """Write a figure in the format of its suffix and forget it."""
    with atomic_path(out) as tmp:
        figure.savefig(tmp, dpi=dpi, bbox_inches="tight")
    pyplot().close(figure)
