"""Sampler and preprocessor: one rate and length a batch, streams cut together."""

from collections import Counter

import numpy as np
import pytest

from espnet_hybridse.data.crops import crop_grid
from espnet_hybridse.data.preprocessor import HybridPreprocessor
from espnet_hybridse.data.sampler import RateGroupedSampler
from espnet_hybridse.fileio.audio import RATES


def corpus():
    rng = np.random.default_rng(0)
    utt2fs = {f"utt{i}": RATES[i % 7] for i in range(100)}
    lengths = {uid: int(fs * rng.uniform(0.1, 6)) for uid, fs in utt2fs.items()}
    return utt2fs, lengths


def test_every_utterance_once_and_no_padding():
    utt2fs, lengths = corpus()
    sampler = RateGroupedSampler(utt2fs, lengths, batch_size=4, chunk_s=2.0)
    batches = sampler.generate(3)
    assert Counter(uid for batch in batches for uid in batch) == Counter(list(utt2fs))
    assert len(batches) == len(sampler)
    for batch in batches:
        assert len({(utt2fs[u], crop_grid(lengths[u], utt2fs[u], 2.0)) for u in batch}) == 1
        assert len(batch) <= max(1, round(4 * min(1, 16000 / utt2fs[batch[0]])))


def test_order_follows_the_seed():
    sampler = RateGroupedSampler(*corpus(), batch_size=4, chunk_s=2.0)
    assert sampler.generate(1) == sampler.generate(1) != sampler.generate(2)


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_an_epoch_goes_on_where_its_state_was_taken(taken):
    sampler = RateGroupedSampler(*corpus(), batch_size=4, chunk_s=2.0)
    whole = sampler.generate(0)
    batches = iter(sampler)
    for _ in range(taken):
        next(batches)
    again = RateGroupedSampler(*corpus(), batch_size=4, chunk_s=2.0)
    again.load_state_dict(sampler.state_dict())
    assert list(again) == whole[taken:]
    assert list(again) == sampler.generate(1), "the next epoch has an order of its own"


def test_state_of_other_lists_is_refused():
    sampler = RateGroupedSampler(*corpus(), batch_size=4, chunk_s=2.0)
    with pytest.raises(ValueError, match="position 1000 is outside the"):
        sampler.load_state_dict({"seed": 0, "position": 1000})


def test_summary_counts_what_rounding_cuts_off():
    fs = {"long": 16000, "short": 16000, "tiny": 8000}
    lengths = {"long": 160000, "short": 16000 + 4000, "tiny": 800}
    line = RateGroupedSampler(fs, lengths, batch_size=4, chunk_s=2.0).summary()
    assert "3 batches of 3 utterances" in line and "8k 0.00 h, 16k 0.00 h" in line
    assert f"cut off by rounding {100 * 0.25 / 11.35:.1f} %" in line


def test_ranks_share_batches_without_gap():
    utt2fs, lengths = corpus()
    shards = [
        RateGroupedSampler(utt2fs, lengths, 4, 2.0, shards=(rank, 2)).generate(0)
        for rank in range(2)
    ]
    assert len(shards[0]) == len(shards[1])
    assert {u for shard in shards for batch in shard for u in batch} == set(utt2fs)
    assert all(batch for shard in shards for batch in shard)


def test_lists_that_disagree_are_named():
    utt2fs, lengths = corpus()
    del lengths["utt3"]
    with pytest.raises(ValueError, match="1 utterances stand in only one .*utt3"):
        RateGroupedSampler(utt2fs, lengths, 4, 2.0)


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("train", [True, False])
def test_streams_and_tokens_are_cut_at_the_same_place(fs, train):
    step = fs // 50
    frames = 120
    ramp = np.repeat(np.arange(frames, dtype=np.float32), step)  # sample -> its 20 ms frame
    data = {
        "speech_mix": ramp,
        "speech_ref1": ramp.copy(),
        "tokens": np.arange(frames),
        "fs": np.array([fs]),
    }
    out = HybridPreprocessor(train=train, chunk_s=1.0)("utt", data)
    assert out["speech_mix"].shape == out["speech_ref1"].shape == (50 * step,)
    assert out["tokens"].shape == (50,) and out["utt2fs"].tolist() == [fs]
    np.testing.assert_array_equal(out["speech_mix"][::step], out["tokens"])


def test_short_utterance_is_kept():
    data = {"speech_mix": np.ones(2400, np.float32), "speech_ref1": np.ones(2400, np.float32)}
    out = HybridPreprocessor(train=True, chunk_s=3.0)("utt", {**data, "fs": np.array([16000])})
    assert out["speech_mix"].shape == (7 * 320,)


def test_a_number_of_crops_bounds_their_variety():
    speech = np.arange(16000 * 6, dtype=np.float32)

    def starts(uid, **options):
        preprocess = HybridPreprocessor(train=True, chunk_s=1.0, **options)
        data = {"speech_mix": speech, "speech_ref1": speech}
        crops = [preprocess(uid, {**data, "fs": np.array([16000])}) for _ in range(60)]
        return {int(crop["speech_mix"][0]) for crop in crops}

    assert len(starts("a")) > 20
    few = starts("a", num_crops=3)
    assert len(few) == 3 and starts("a", num_crops=3) == few
    assert starts("b", num_crops=3) != few
    with pytest.raises(ValueError, match="num_crops=0 must be at least 1"):
        HybridPreprocessor(train=True, num_crops=0)


def test_wrong_rate_and_missing_tokens_are_named():
    wav = np.ones(16000, np.float32)
    data = {"speech_mix": wav, "speech_ref1": wav}
    preprocess = HybridPreprocessor(train=False, chunk_s=1.0)
    with pytest.raises(ValueError, match="fs=11025 Hz is not one of 8000, 16000"):
        preprocess("utt", {**data, "fs": np.array([11025])})
    with pytest.raises(ValueError, match="utt: 3 tokens for 50 frames.*stage 4"):
        preprocess("utt", {**data, "fs": np.array([16000]), "tokens": np.zeros(3)})
