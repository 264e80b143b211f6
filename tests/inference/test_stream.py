"""Long audio: pieces cover it, and joining them leaves neither seam nor growing memory."""

import numpy as np
import pytest

from espnet_hybridse.inference.stream import CrossFade, cut_pieces, fade_in

LENGTHS = [1, 7, 99, 100, 101, 119, 120, 180, 181, 260, 1000, 1234, 4801]


def pieces_of(wav, segment, overlap, block=333):
    """Start and samples of every piece of (T,) or (C, T), and which is said to be the last."""
    rows = np.atleast_2d(wav)
    blocks = [rows[:, first : first + block] for first in range(0, rows.shape[1], block)]
    return list(cut_pieces(blocks, segment, overlap))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 1, 20, 50])
@pytest.mark.parametrize("block", [1, 64, 5000])
def test_pieces_cover_everything_with_the_promised_overlap(length, overlap, block):
    pieces = pieces_of(np.arange(length), 100, overlap, block)
    assert all((piece[0] == np.arange(a, a + piece.shape[1])).all() for a, piece, _ in pieces)
    assert [last for _, _, last in pieces] == [False] * (len(pieces) - 1) + [True]
    spans = [(start, start + piece.shape[1]) for start, piece, _ in pieces]
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert {stop - start for start, stop in spans} == {min(100, length)}
    for (_, stop), (start, _) in zip(spans, spans[1:], strict=False):
        assert stop - start >= overlap
    # No piece that another one already covers.
    assert len(spans) == 1 + max(0, -(-(length - 100) // (100 - overlap)))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 1, 20, 50])
def test_identity_processing_returns_the_input(length, overlap):
    wav = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    joiner = CrossFade(length, overlap)
    parts = [joiner.push(start, piece[0]) for start, piece, _ in pieces_of(wav, 100, overlap)]
    output = np.concatenate(parts)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, wav, rtol=0, atol=1e-6)
    assert joiner.done == length


def test_channels_stay_apart():
    wav = np.random.default_rng(0).standard_normal((2, 950)).astype(np.float32)
    joiner = CrossFade(950, 30)
    parts = [joiner.push(start, piece) for start, piece, _ in pieces_of(wav, 200, 30)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), wav)


def test_weights_sum_to_one():
    for size in (1, 2, 3, 160, 999):
        rising = fade_in(size)
        np.testing.assert_allclose(rising + rising[::-1], 1.0, rtol=0, atol=1e-12)
        assert (np.diff(rising) > 0).all()


@pytest.mark.parametrize("length", [1000, 1003, 1650])
def test_no_seam_between_pieces_that_disagree(length):
    # Neighbours differ by 0.2: put end to end they would jump by that at once.
    overlap = 50
    joiner = CrossFade(length, overlap)
    parts = []
    for index, (start, piece, _) in enumerate(pieces_of(np.zeros(length), 200, overlap)):
        parts.append(joiner.push(start, np.full(piece.shape[1], 1.0 + 0.2 * (index % 2))))
    steps = np.abs(np.diff(np.concatenate(parts)))
    assert steps.max() <= 0.2 * np.pi / 2 / overlap * 1.001
    assert steps.max() > 0


def test_memory_is_one_piece_whatever_the_length():
    length, segment, overlap = 100_000, 500, 100
    joiner = CrossFade(length, overlap)
    returned = 0
    for start, piece, _ in pieces_of(np.zeros(length, np.float32), segment, overlap):
        returned += joiner.push(start, piece[0]).size
        assert start + piece.shape[1] - returned <= segment
    assert returned == length


def test_finished_samples_come_as_early_as_they_can():
    joiner = CrossFade(length=250, overlap=50)
    assert joiner.push(0, np.zeros(100)).size == 0
    assert joiner.push(50, np.zeros(100)).size == 50
    assert joiner.push(150, np.zeros(100)).size == 200


@pytest.mark.parametrize(
    "start, size, problem", [(101, 100, "0…100"), (0, 100, "101…250"), (60, 300, "101…250")]
)
def test_a_gap_a_repeat_and_too_much_are_refused(start, size, problem):
    joiner = CrossFade(length=250, overlap=20)
    joiner.push(0, np.zeros(100))
    with pytest.raises(ValueError, match=problem):
        joiner.push(start, np.zeros(size))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="overlap=60.*0…50.*segment=100"):
        pieces_of(np.zeros(1000), 100, 60)
    with pytest.raises(ValueError, match="overlap=-1 samples must not be negative"):
        CrossFade(100, -1)
