"""The ESTOI term against pystoi, on real speech."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from espnet_hybridse.losses.estoi import ESTOILoss

pytest.importorskip("torch_stoi", reason="extra 'recipe' is not installed")
pystoi = pytest.importorskip("pystoi", reason="extra 'scoring' is not installed")

SPEECH = Path(__file__).parents[1] / "data" / "speech" / "numbers.flac"


@pytest.fixture
def pair():
    clean, fs = soundfile.read(SPEECH, dtype="float32")
    noise = np.random.default_rng(0).normal(size=clean.shape).astype(np.float32)
    return clean, clean + 0.05 * noise, fs


def test_equals_pystoi(pair):
    clean, noisy, fs = pair
    loss = ESTOILoss()(torch.tensor(clean)[None], torch.tensor(noisy)[None])
    assert loss.item() == pytest.approx(1 - pystoi.stoi(clean, noisy, fs, extended=True), abs=2e-3)


def test_autocast_changes_nothing(pair):
    clean, noisy, _ = (torch.tensor(x) for x in pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = ESTOILoss()(clean[None], noisy[None])
    torch.testing.assert_close(value, ESTOILoss()(clean[None], noisy[None]), atol=0, rtol=0)


def test_identical_signals_give_zero_and_padding_does_not_count(pair):
    clean, noisy, _ = (torch.tensor(x) for x in pair)
    criterion = ESTOILoss()
    assert criterion(clean[None], clean[None]).item() == pytest.approx(0, abs=1e-3)
    short = len(clean) - 8000
    padded = torch.stack([noisy, noisy])
    padded[1, short:] = 9.0
    criterion.set_batch(16000, torch.tensor([len(clean), short]))
    both = criterion(torch.stack([clean, clean]), padded)
    criterion.set_batch(16000, None)
    alone = criterion(clean[None, :short], noisy[None, :short])
    torch.testing.assert_close(both[1:], alone)


def test_gradient_is_finite_also_for_short_and_silent_speech(pair):
    clean, noisy, _ = (torch.tensor(x) for x in pair)
    estimate = torch.stack([noisy, noisy, 0 * noisy]).requires_grad_()
    criterion = ESTOILoss()
    criterion.set_batch(16000, torch.tensor([len(clean), 3000, len(clean)]))
    loss = criterion(torch.stack([clean, clean, clean]), estimate)
    loss.sum().backward()
    assert loss[1] == 0 and torch.isfinite(estimate.grad).all()
    assert estimate.grad[0].abs().max() > 0
