"""Facts of the sampling-frequency-independent STFT grid, and spectrum scaling.

A window fixed in seconds puts the bins of every rate on one grid in Hz: 50 Hz apart for 20 ms,
25 Hz for 40 ms. The number of bins therefore tells the rate, and changing the rate of a spectrum
is cutting or zero-padding its bins.
"""

import torch

from espnet_hybridse.fileio.audio import RATES

WINDOW_MS = {"disc": 20, "gen": 40}
"""STFT windows of the two branches (paper section 3.1); each hop is half its window."""

REFERENCE_BINS = 160


def n_fft(fs: int, win_ms: int) -> int:
    """Window length in samples at `fs` Hz, floored as ESPnet's STFTEncoder floors it.

    Exact but for 20 ms at 22.05 kHz: 441 samples, an odd number, and a hop of 220 instead of 220.5,
    so 100.23 frames a second, the last of which takes a sample more. Its bins keep their 50 Hz and
    it inverts as the others do; a network sees speech 0.2 % slower there.
    """
    return win_ms * fs // 1000


def rate_of(n_freqs: int, win_ms: int) -> int:
    """The rate in Hz of a one-sided spectrum with `n_freqs` bins.

    Raises:
        ValueError: no supported rate has that many bins.
    """
    bins = {n_fft(fs, win_ms) // 2 + 1: fs for fs in RATES}
    if n_freqs not in bins:
        raise ValueError(
            f"a {win_ms} ms spectrum of {n_freqs} bins belongs to none of the rates "
            f"{', '.join(map(str, RATES))} Hz (bins {', '.join(map(str, bins))}); check the "
            f"encoder's n_fft and default_fs"
        )
    return bins[n_freqs]


def stft(wav: torch.Tensor, fs: int, win_ms: int, frames: int | None = None) -> torch.Tensor:
    """(B, T) -> (B, frames, F) complex; the transform of ESPnet's STFTEncoder.

    Signals too short for the reflected margin are zero-padded at the end. Inverts to 1e-5 for
    whole hops (at 22.05 kHz, 20 ms: and one sample); samples beyond the last of them lie under the
    edge of a single window.

    Args:
        wav: (B, T) at `fs` Hz.
        fs: rate in Hz.
        win_ms: window in ms; the hop is half of it.
        frames: how many to give, zeros behind the signal if need be; None gives 1 + T // hop.
    """
    size = n_fft(fs, win_ms)
    hop = n_fft(fs, win_ms) // 2
    frames = 1 + wav.shape[-1] // hop if frames is None else frames
    # Of an odd window the margins are a sample short of it.
    needed = max(size, (frames - 1) * hop + size % 2)
    wav = torch.nn.functional.pad(wav, (0, max(needed - wav.shape[-1], 0)))
    window = torch.hann_window(size, device=wav.device, dtype=wav.dtype)
    spectrum = torch.stft(wav, size, hop, size, window, return_complex=True)
    return spectrum.transpose(1, 2)[:, :frames]


def istft(spectrum: torch.Tensor, fs: int, win_ms: int, length: int) -> torch.Tensor:
    """(B, T, F) complex -> (B, length); inverse of :func:`stft`."""
    size = n_fft(fs, win_ms)
    window = torch.hann_window(size, device=spectrum.device, dtype=spectrum.real.dtype)
    return overlapped(spectrum, size // 2, window, length)


def overlapped(
    spectrum: torch.Tensor, hop: int, window: torch.Tensor, length: int, center: bool = True
) -> torch.Tensor:
    """Compute what `torch.istft` does, without its look at the values, which waits for a GPU.

    Args:
        spectrum: (B, T, F) complex, one-sided.
        hop: samples between two frames.
        window: (n_fft,), whose overlapped squares leave no gap.
        length: samples of the result.
        center: whether the first frame's middle is the first sample.

    Returns:
        (B, length); zeros where no frame reaches.
    """
    size, frames = window.numel(), spectrum.shape[1]
    total = (frames - 1) * hop + size
    pieces = torch.fft.irfft(spectrum, size) * window
    squares = window.square().expand(1, frames, size)
    # The transpose of Tensor.unfold: adds every frame where it lies.
    wav, envelope = (
        torch.ops.aten.unfold_backward(x, [len(x), total], 1, size, hop) for x in (pieces, squares)
    )
    start = size // 2 if center else 0
    stop = min(start + length, total)
    wav = wav[:, start:stop] / envelope[:, start:stop]
    return torch.nn.functional.pad(wav, (0, length - wav.shape[1]))


def change_rate(spectrum: torch.Tensor, n_freqs: int, scale: float) -> torch.Tensor:
    """Cut or zero-pad (…, F) to (…, n_freqs) and scale: a resampling without a resampler.

    `scale` is the ratio target fs / source fs: a window with fewer samples sums to less.
    """
    missing = n_freqs - spectrum.shape[-1]
    if missing > 0:
        spectrum = torch.nn.functional.pad(spectrum, (0, missing))
    return spectrum[..., :n_freqs] * scale


def power(spectrum: torch.Tensor) -> torch.Tensor:
    """|X|^2 of (…) complex; eight times as fast on CPU as a sum over the last dimension's two."""
    return spectrum.real.square() + spectrum.imag.square()


def stack_features(spectrum: torch.Tensor, dim: int) -> torch.Tensor:
    """Magnitude, real and imaginary part of (…) complex, stacked along a new `dim`."""
    magnitude = (power(spectrum) + 1e-20).sqrt()  # finite gradient at zero, which abs() has too
    return torch.stack([magnitude, spectrum.real, spectrum.imag], dim=dim)


def rms_normalise(spectrum: torch.Tensor, eps: float = 1e-5) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide (B, T, F) complex by its root mean square; returns it and the divisor (B, 1, 1).

    Power is summed over bins and averaged over frames, then counted as if spread over
    REFERENCE_BINS: empty upper bands of a high rate do not change the level of the lower ones.
    """
    mean = power(spectrum).sum(-1).mean(-1)
    rms = (mean / REFERENCE_BINS).sqrt().clamp_min(eps)[:, None, None]
    return spectrum / rms, rms


def compress(spectrum: torch.Tensor, exponent: float, eps: float = 1e-8) -> torch.Tensor:
    """|X|^exponent with the phase kept; (…) complex, differentiable at zero."""
    return spectrum * (power(spectrum) + eps).pow((exponent - 1.0) / 2.0)


def expand(spectrum: torch.Tensor, exponent: float, eps: float = 1e-8) -> torch.Tensor:
    """Inverse of :func:`compress` with the same exponent (up to eps)."""
    return spectrum * (power(spectrum) + eps).pow((1.0 / exponent - 1.0) / 2.0)
