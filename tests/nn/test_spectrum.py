"""The SFI spectrum is exact at every rate and length, alone and through ESPnet's transforms."""

import numpy as np
import pytest
import torch
from espnet2.enh.decoder.stft_decoder import STFTDecoder
from espnet2.enh.encoder.stft_encoder import STFTEncoder

from espnet_hybridse import Enhancer
from espnet_hybridse.discriminative import TFGridNetSFI
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.model.espnet_model import HybridEnhancementModel
from espnet_hybridse.model.loading import LoadedModel
from espnet_hybridse.nn.spectrum import WINDOW_MS, istft, n_fft, rate_of, stft

WINDOW = {"n_fft": 960, "hop_length": 480, "default_fs": 48000}


def lengths(fs):
    """Every length up to a window and a half, in odd steps, and around the edges of windows."""
    size = n_fft(fs, 20)
    edges = [size // 2 + d for d in (-1, 0, 1)] + [size + d for d in (-1, 0, 1)]
    long = [fs // 3, fs // 2 + 1, 219 * fs // 50 - 1]
    return sorted({*range(1, 8), *range(1, size * 3 // 2, 37), *edges, *long})


@pytest.fixture(scope="module")
def identity():
    """An untrained model with residual output: it returns what its transforms return."""
    separator = TFGridNetSFI(
        None, n_layers=1, lstm_hidden_units=4, emb_dim=8, emb_ks=2, emb_hs=2, output="residual"
    )
    model = HybridEnhancementModel(
        encoder=STFTEncoder(**WINDOW),
        separator=separator,
        decoder=STFTDecoder(**WINDOW),
        mask_module=None,
        loss_wrappers=[],
    )
    return Enhancer(LoadedModel(model, {}), gate="off")


@pytest.mark.parametrize("win_ms", [20, 40])
@pytest.mark.parametrize("fs", RATES)
def test_round_trip_of_whole_hops(fs, win_ms):
    hop = n_fft(fs, win_ms) // 2
    for length in (hop * n + n_fft(fs, win_ms) % 2 for n in (1, 2, 3, 10, 51)):
        wav = 0.2 * torch.randn(2, length, generator=torch.manual_seed(length))
        spectrum = stft(wav, fs, win_ms)
        assert rate_of(spectrum.shape[-1], win_ms) == fs
        torch.testing.assert_close(istft(spectrum, fs, win_ms, length), wav, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("fs", RATES)
def test_a_model_keeps_rate_length_and_samples(identity, fs):
    for length in lengths(fs):
        wav = np.random.default_rng(length).normal(0, 0.2, length).astype(np.float32)
        out = identity(wav, fs)
        assert out.shape == wav.shape and out.dtype == wav.dtype
        np.testing.assert_allclose(out, wav, atol=1e-5)


@pytest.mark.parametrize("fs", RATES)
def test_own_transform_is_the_encoders(fs):
    wav = torch.randn(1, fs // 4, generator=torch.manual_seed(0))
    theirs = STFTEncoder(**WINDOW)(wav, torch.tensor([wav.shape[1]]), fs=fs)[0]
    torch.testing.assert_close(stft(wav, fs, 20), theirs, atol=1e-5, rtol=1e-5)


def test_22050_has_an_odd_window_and_half_of_it_floored_as_hop():
    assert n_fft(22050, 20) == 441
    assert stft(torch.zeros(1, 22050), 22050, 20).shape == (1, 1 + 22050 // 220, 221)


@pytest.mark.parametrize("fs", [16000, 22050])
@pytest.mark.parametrize("frames", [5, 9, 12])
def test_frames_that_are_asked_for_hold_zeros_behind_the_signal(frames, fs):
    wav = torch.randn(2, 8 * fs // 100)
    spectrum = stft(wav, fs, WINDOW_MS["disc"], frames)
    assert spectrum.shape[1] == frames
    longer = stft(torch.nn.functional.pad(wav, (0, 1600)), fs, WINDOW_MS["disc"])
    torch.testing.assert_close(spectrum[:, :8], longer[:, : min(frames, 8)])
