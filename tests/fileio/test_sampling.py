"""A sample of a list has the list's shares and is always the same."""

from collections import Counter

from espnet_hybridse.fileio.sampling import sample

KEYS = [f"u{i:03d}" for i in range(100)]
RATES = {key: 48000 if number < 10 else 16000 for number, key in enumerate(KEYS)}


def test_every_stratum_keeps_its_share():
    for count in (10, 37, 99):
        drawn = sample(KEYS, count, RATES)
        assert len(drawn) == len(set(drawn)) == count and drawn == sorted(drawn)
        few = Counter(RATES[key] for key in drawn)[48000]
        assert abs(few - count / 10) < 1


def test_the_sample_depends_on_keys_and_seed_alone():
    drawn = sample(KEYS, 20, RATES)
    assert sorted(sample(KEYS[::-1], 20, RATES)) == drawn != sample(KEYS, 20, RATES, seed=1)
    assert drawn != KEYS[:20], "not the first names"
    assert sample(KEYS, 20) != drawn and len(sample(KEYS, 20)) == 20
    assert sample(KEYS, 1000) == KEYS


def test_strata_smaller_than_their_share_of_one():
    kinds = {key: key for key in KEYS}
    assert len(sample(KEYS, 7, kinds)) == 7
