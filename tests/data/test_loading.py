"""Sampler and preprocessor: one rate and length a batch, streams cut together."""

import pickle
import shutil

import numpy as np
import pytest
import soundfile

from espnet_hybridse.data import mapped_list
from espnet_hybridse.data.dataset import CropDataset
from espnet_hybridse.data.kaldi_ark import archive_set
from espnet_hybridse.data.mapped_list import MappedList, join
from espnet_hybridse.data.preprocessor import HybridPreprocessor
from espnet_hybridse.data.sampler import RateGroupedSampler, crop_grid
from espnet_hybridse.fileio.audio import RATES, BadAudio
from espnet_hybridse.fileio.lists import ListError


def corpus():
    """Rates and lengths of 100 utterances."""
    rng = np.random.default_rng(0)
    fs = np.array([RATES[i % 7] for i in range(100)])
    return fs, (fs * rng.uniform(0.1, 6, 100)).astype(int)


def test_every_utterance_once_and_no_padding():
    fs, samples = corpus()
    sampler = RateGroupedSampler(fs, samples, batch_per_gpu=4, chunk_s=2.0)
    batches = sampler.generate(3)
    assert sorted(np.concatenate(batches)) == list(range(100)) and len(batches) == len(sampler)
    for batch in batches:
        assert len({(fs[u], crop_grid(samples[u], fs[u], 2.0)) for u in batch}) == 1
        assert len(batch) <= max(1, round(4 * min(1, 16000 / fs[batch[0]])))


@pytest.mark.parametrize("seconds, steps", [(0.001, 1), (0.3, 15), (0.7, 25), (1.9, 75), (9, 100)])
def test_crops_are_on_the_grid(seconds, steps):
    assert [crop_grid(int(seconds * fs), fs, 2.0) for fs in RATES] == [steps] * 7
    many = crop_grid((seconds * np.array(RATES)).astype(int), np.array(RATES), 2.0)
    assert many.tolist() == [steps] * 7


def test_order_follows_the_seed():
    sampler = RateGroupedSampler(*corpus(), batch_per_gpu=4, chunk_s=2.0)
    one, same, other = ([batch.tolist() for batch in sampler.generate(seed)] for seed in (1, 1, 2))
    assert one == same != other


def test_summary_counts_what_rounding_cuts_off():
    fs, samples = [16000, 16000, 8000], [160000, 16000 + 4000, 800]
    line = RateGroupedSampler(fs, samples, batch_per_gpu=4, chunk_s=2.0).summary()
    assert "3 batches of 3 utterances" in line and "8k 0.00 h, 16k 0.00 h" in line
    assert f"cut off by rounding {100 * 0.25 / 11.35:.1f} %" in line


def test_ranks_share_batches_without_gap():
    fs, samples = corpus()
    alone = RateGroupedSampler(fs, samples, 4, 2.0).generate(0)
    shards = [RateGroupedSampler(fs, samples, 2, 2.0, (rank, 2)).generate(0) for rank in range(2)]
    assert len(shards[0]) == len(shards[1])
    assert {u for shard in shards for batch in shard for u in batch} == set(range(100))
    assert all(len(batch) for shard in shards for batch in shard)
    full = [(one, *both) for one, *both in zip(alone, *shards, strict=False) if len(one) == 4]
    assert full and all(sorted(one) == sorted([*a, *b]) for one, a, b in full)


def test_every_process_gets_its_batch_however_many_there_are():
    fs = np.full(1000, 48000)
    for processes in (1, 8):
        sampler = RateGroupedSampler(fs, 10 * fs, 12, 4.0, shards=(0, processes))
        assert len(sampler.generate(0)[0]) == 4  # a third of that at 16 kHz


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_mapped_list_is_a_dict(tmp_path):
    long = "u" * 100
    lines = ["b  3 4", "", f"{long} 7", "a\t1,2", "c 5  "]
    mapped = MappedList(write(tmp_path / "list", lines))
    keys = [key.decode() for key in mapped.keys]
    assert keys == ["a", "b", "c", long] and len(mapped) == 4
    assert [mapped.value(row) for row in range(4)] == ["1,2", "3 4", "5", "7"]
    assert mapped.integers(np.array([3, 0, 2])).tolist() == [7, 1, 5]
    again = pickle.loads(pickle.dumps(mapped))
    assert again.value(1) == "3 4"
    (tmp_path / "list").write_bytes(b"x 1\r\ny 22")  # no line feed at the end
    assert MappedList(tmp_path / "list").integers(np.array([0, 1])).tolist() == [1, 22]


def test_a_list_is_read_block_by_block(tmp_path, monkeypatch):
    lines = [f"utterance{number:04d} {number} words" for number in range(500)]
    path = write(tmp_path / "list", [*lines[::2], "", *lines[1::2]])
    whole = MappedList(path)
    for size in (37, 100, 4096):
        monkeypatch.setattr(mapped_list, "BLOCK", size)
        small = MappedList(path)
        assert np.array_equal(small.keys, whole.keys) and len(small) == 500
        assert small.integers(np.arange(500)).tolist() == list(range(500))
        assert small.value(499) == "499 words"


@pytest.mark.parametrize(
    "lines, words",
    [
        ([], "the list is empty"),
        (["", " "], "the list is empty"),
        (["a 1", "b 2", "a 3"], "key 'a' stands twice"),
    ],
)
def test_lists_that_are_none_are_named(tmp_path, lines, words):
    with pytest.raises(ListError, match=words):
        MappedList(write(tmp_path / "list", lines))
    with pytest.raises(ListError, match="no such list"):
        MappedList(tmp_path / "gone")


@pytest.mark.parametrize("value", ["x", "-3", "", "1e5x", "16k"])
def test_a_value_that_is_no_number_is_named(tmp_path, value):
    mapped = MappedList(write(tmp_path / "utt2fs", ["a 8000", f"b {value}"]))
    assert mapped.integers(np.array([0])).tolist() == [8000]
    if value in ("1e5x", "16k"):
        return  # begins with a number
    with pytest.raises(ListError, match="b has .*expected a whole number"):
        mapped.integers(np.array([0, 1]))


def test_lists_are_joined_by_key(tmp_path):
    one = MappedList(write(tmp_path / "one", ["a 1", "b 2", "d 4"]))
    two = MappedList(write(tmp_path / "two", ["e 5", "d 40", "b 20"]))
    keys, (first, second) = join([one, two])
    assert keys.tolist() == [b"b", b"d"]
    assert one.integers(first).tolist() == [2, 4] and two.integers(second).tolist() == [20, 40]


@pytest.fixture(params=["wav", "flac", "ark"])
def files(request, tmp_path):
    """Lists of two utterances, as files or in an archive, and the samples of the first."""
    rng = np.random.default_rng(0)
    kind = "flac" if request.param == "ark" else request.param
    waves, rows = {}, {}
    for uid, fs in (("a", 16000), ("b", 8000)):
        waves[uid] = (0.1 * rng.standard_normal(6 * fs)).astype(np.float32)
        rows[uid] = tmp_path / f"{uid}.{kind}"
        soundfile.write(rows[uid], waves[uid], fs, subtype="PCM_16")
        waves[uid] = soundfile.read(rows[uid], dtype="float32")[0]
    write(tmp_path / "wav.scp", [f"{uid} {path}" for uid, path in rows.items()])
    write(tmp_path / "utt2fs", ["b 8000", "a 16000"])
    write(tmp_path / "lengths", ["a 96000", "b 48000"])
    write(tmp_path / "text_int", [f"{uid} {' '.join(map(str, range(300)))}" for uid in rows])
    if request.param == "ark":
        archive_set(tmp_path, tmp_path / "ark")
        shutil.copy(tmp_path / "ark/wav.scp", tmp_path / "wav.scp")
    return tmp_path, waves


def dataset(folder, preprocess, **types):
    kinds = {"speech_mix": "sound", "speech_ref1": "sound", "fs": "text_int", "tokens": "text_int"}
    names = {"speech_mix": "wav.scp", "speech_ref1": "wav.scp", "fs": "utt2fs"}
    names["tokens"] = "text_int"
    streams = [(str(folder / names[n]), n, types.get(n, kinds[n])) for n in names]
    return CropDataset(streams, str(folder / "lengths"), preprocess)


def test_crops_are_read_where_they_lie(files):
    folder, waves = files
    made = dataset(folder, HybridPreprocessor(train=True, chunk_s=1.0))
    assert made.names() == ("speech_mix", "speech_ref1", "fs", "tokens") and len(made) == 2
    assert made.fs.tolist() == [16000, 8000] and made.samples.tolist() == [96000, 48000]
    for number, (uid, step) in enumerate((("a", 320), ("b", 160))):
        name, data = made[number]
        start = int(data["tokens"][0])
        assert name == uid and data["tokens"].tolist() == list(range(start, start + 50))
        assert data["tokens"].dtype == np.int64 and data["speech_mix"].dtype == np.float32
        cut = waves[uid][start * step : (start + 50) * step]
        np.testing.assert_array_equal(data["speech_mix"], cut)
    made.keep(np.array([1]))
    assert len(made) == 1 and made[0][0] == "b"


def test_wrong_inputs_of_a_dataset_are_named(files):
    folder, _ = files
    preprocess = HybridPreprocessor(train=True, chunk_s=1.0)
    with pytest.raises(ValueError, match="tokens: type 'npy' is not one of sound, kaldi_ark"):
        dataset(folder, preprocess, tokens="npy")
    write(folder / "utt2fs", ["a 8000", "b 8000"])
    with pytest.raises(BadAudio, match="a: .* is of 16000 Hz, utt2fs says 8000"):
        dataset(folder, preprocess)[0]
    write(folder / "lengths", ["c 1"])
    with pytest.raises(ListError, match="no utterance stands in all of"):
        dataset(folder, preprocess)


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
    with pytest.raises(ValueError, match="utt: 3 tokens for 50 frames.*hybridse tokenize"):
        preprocess("utt", {**data, "fs": np.array([16000]), "tokens": np.zeros(3)})
