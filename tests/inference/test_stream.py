"""Long audio: pieces cover it, and joining them leaves neither seam nor growing memory."""

import numpy as np
import pytest

from espnet_hybridse.inference.stream import CrossFade, cut_pieces, fade_in

LENGTHS = [1, 7, 99, 100, 101, 119, 120, 180, 181, 260, 1000, 1234, 4801]


def pieces_of(wav, segment, overlap, block=333):
    """Start and samples of every piece of (T,) or (C, T)."""
    rows = np.atleast_2d(wav)
    blocks = [rows[:, first : first + block] for first in range(0, rows.shape[1], block)]
    return list(cut_pieces(blocks, segment, overlap))


def joined_again(joiner, pieces):
    """Every piece pushed, and the rest."""
    return np.concatenate([*(joiner.push(*piece) for piece in pieces), joiner.rest()], axis=-1)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 1, 20, 50])
@pytest.mark.parametrize("block", [1, 64, 5000])
def test_pieces_cover_everything_with_the_promised_overlap(length, overlap, block):
    pieces = pieces_of(np.arange(length), 100, overlap, block)
    assert all((piece[0] == np.arange(a, a + piece.shape[1])).all() for a, piece in pieces)
    spans = [(start, start + piece.shape[1]) for start, piece in pieces]
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert {stop - start for start, stop in spans} == {min(100, length)}
    for (_, stop), (start, _) in zip(spans, spans[1:], strict=False):
        assert stop - start >= overlap
    # No piece that another one already covers.
    assert len(spans) == 1 + max(0, -(-(length - 100) // (100 - overlap)))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap, shared", [(0, 0), (1, 1), (20, 20), (50, 50), (10, 40)])
def test_identity_processing_returns_the_input(length, overlap, shared):
    wav = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    output = joined_again(CrossFade(overlap, shared), pieces_of(wav, 100, shared))
    assert output.dtype == np.float32 and output.shape == (1, length)
    np.testing.assert_allclose(output[0], wav, rtol=0, atol=1e-6)


def test_channels_stay_apart():
    wav = np.random.default_rng(0).standard_normal((2, 950)).astype(np.float32)
    np.testing.assert_array_equal(joined_again(CrossFade(30, 30), pieces_of(wav, 200, 30)), wav)


def test_weights_sum_to_one():
    for size in (1, 2, 3, 160, 999):
        rising = fade_in(size)
        np.testing.assert_allclose(rising + rising[::-1], 1.0, rtol=0, atol=1e-12)
        assert (np.diff(rising) > 0).all()


@pytest.mark.parametrize("length", [1000, 1003, 1650])
@pytest.mark.parametrize("shared", [50, 90])
def test_no_seam_between_pieces_that_disagree(length, shared):
    # Neighbours differ by 0.2: put end to end they would jump by that at once.
    overlap = 50
    pieces = [
        (start, np.full(piece.shape[1], 1.0 + 0.2 * (index % 2)))
        for index, (start, piece) in enumerate(pieces_of(np.zeros(length), 200, shared))
    ]
    steps = np.abs(np.diff(joined_again(CrossFade(overlap, shared), pieces)))
    assert steps.max() <= 0.2 * np.pi / 2 / overlap * 1.001
    assert steps.max() > 0


def test_what_has_been_given_out_is_all_but_what_the_next_piece_shares():
    joiner = CrossFade(overlap=10, shared=30)
    assert joiner.push(0, np.zeros(100)).size == 70
    assert joiner.push(70, np.zeros(100)).size == 70
    # The last piece is moved back before what was given out already.
    assert joiner.push(90, np.zeros(100)).size == 20
    assert joiner.rest().size == 30 and joiner.done == 190
    assert CrossFade(10, 10).rest() is None


def test_a_piece_is_there_as_soon_as_its_last_sample_is():
    given = []

    def blocks():
        for number in range(25):
            given.append(number)
            yield np.zeros((1, 10))

    seen = [(start, len(given) * 10) for start, _ in cut_pieces(blocks(), 100, 25)]
    assert seen == [(0, 100), (75, 180), (150, 250)]


@pytest.mark.parametrize("start, size", [(101, 100), (0, 100), (20, 80)])
def test_a_gap_and_a_repeat_are_refused(start, size):
    joiner = CrossFade(20, 20)
    joiner.push(0, np.zeros(100))
    with pytest.raises(ValueError, match="begin at 80 or before and end after 100"):
        joiner.push(start, np.zeros(size))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="shared=60.*0…50.*segment=100"):
        pieces_of(np.zeros(1000), 100, 60)
    with pytest.raises(ValueError, match="overlap=-1 samples.*0…0"):
        CrossFade(-1, 0)
    with pytest.raises(ValueError, match="overlap=20 samples.*0…10"):
        CrossFade(20, 10)
