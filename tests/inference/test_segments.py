"""Long audio: segments cover it, and joining them leaves neither seam nor growing memory."""

import numpy as np
import pytest

from espnet_hybridse.inference.segments import OverlapAdd, fade_in, plan_segments

LENGTHS = [1, 7, 99, 100, 101, 119, 120, 180, 181, 260, 1000, 1234, 4801]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 1, 20, 50])
def test_segments_cover_everything_with_the_promised_overlap(length, overlap):
    plan = plan_segments(length, segment=100, overlap=overlap)
    assert plan[0][0] == 0
    assert plan[-1][1] == length
    assert {stop - start for start, stop in plan} == {min(100, length)}
    for (_, stop), (start, _) in zip(plan, plan[1:], strict=False):
        assert stop - start >= overlap


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 1, 20, 50])
@pytest.mark.parametrize("fade", ["linear", "cosine"])
def test_identity_processing_returns_the_input(length, overlap, fade):
    wav = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    joiner = OverlapAdd(length, overlap, fade)
    parts = [joiner.push(a, wav[a:b]) for a, b in plan_segments(length, 100, overlap)]
    output = np.concatenate(parts)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, wav, rtol=0, atol=1e-6)
    assert joiner.done == length


def test_channels_stay_apart():
    wav = np.random.default_rng(0).standard_normal((2, 950)).astype(np.float32)
    joiner = OverlapAdd(950, 30)
    parts = [joiner.push(a, wav[:, a:b]) for a, b in plan_segments(950, 200, 30)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), wav)


@pytest.mark.parametrize("fade", ["linear", "cosine"])
def test_weights_sum_to_one(fade):
    for size in (1, 2, 3, 160, 999):
        rising = fade_in(size, fade)
        np.testing.assert_allclose(rising + rising[::-1], 1.0, rtol=0, atol=1e-12)
        assert (np.diff(rising) > 0).all()


@pytest.mark.parametrize("length", [1000, 1003, 1650])
def test_no_seam_between_segments_that_disagree(length):
    # Neighbours differ by 0.2: put end to end they would jump by that at once.
    overlap = 50
    joiner = OverlapAdd(length, overlap)
    parts = []
    for index, (start, stop) in enumerate(plan_segments(length, 200, overlap)):
        parts.append(joiner.push(start, np.full(stop - start, 1.0 + 0.2 * (index % 2))))
    steps = np.abs(np.diff(np.concatenate(parts)))
    assert steps.max() <= 0.2 * np.pi / 2 / overlap * 1.001
    assert steps.max() > 0


def test_memory_is_one_segment_whatever_the_length():
    length, segment, overlap = 100_000, 500, 100
    joiner = OverlapAdd(length, overlap)
    returned = 0
    for start, stop in plan_segments(length, segment, overlap):
        returned += joiner.push(start, np.zeros(stop - start, np.float32)).size
        assert stop - returned <= segment
    assert returned == length


def test_finished_samples_come_as_early_as_they_can():
    joiner = OverlapAdd(length=250, overlap=50)
    assert joiner.push(0, np.zeros(100)).size == 0
    assert joiner.push(50, np.zeros(100)).size == 50
    assert joiner.push(150, np.zeros(100)).size == 200


@pytest.mark.parametrize(
    "start, size, problem", [(101, 100, "0…100"), (0, 100, "101…250"), (60, 300, "101…250")]
)
def test_a_gap_a_repeat_and_too_much_are_refused(start, size, problem):
    joiner = OverlapAdd(length=250, overlap=20)
    joiner.push(0, np.zeros(100))
    with pytest.raises(ValueError, match=problem):
        joiner.push(start, np.zeros(size))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="overlap=60.*0…50.*segment=100"):
        plan_segments(1000, 100, 60)
    with pytest.raises(ValueError, match="length=0"):
        plan_segments(0, 100, 10)
    with pytest.raises(ValueError, match="'hann' is not one of cosine, linear"):
        OverlapAdd(100, 10, "hann")
