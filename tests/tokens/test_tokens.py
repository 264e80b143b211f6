"""Tokens: alignment, manifests, and an extraction that survives being killed."""

import json

import numpy as np
import pytest
import soundfile
import torch

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.lists import read_list, write_list
from espnet_hybridse.tokens.extract import extract, read_16k
from espnet_hybridse.tokens.kmeans import KmeansTokenizer
from espnet_hybridse.tokens.manifest import (
    ManifestError,
    check_compatible,
    read_manifest,
    write_manifest,
)
from espnet_hybridse.tokens.tokenizer import load_tokenizer


def speechlike(samples, seed=0):
    """Noise with a moving spectrum: enough variety for a few units."""
    rng = np.random.default_rng(seed)
    wav = rng.standard_normal(samples)
    wav = np.convolve(wav, np.hanning(9), "same") * (1 + np.sin(np.arange(samples) / 2000))
    return (0.05 * wav).astype(np.float32)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A list of three utterances at three rates."""
    folder = tmp_path_factory.mktemp("speech")
    table = {}
    for seed, fs in enumerate((8000, 16000, 22050)):
        path = folder / f"{fs}.wav"
        soundfile.write(path, speechlike(fs + 7 * seed, seed), fs)
        table[f"utt{seed}"] = path
    write_list(folder / "spk1.scp", table)
    return folder / "spk1.scp"


def run(speech, out, wavlm_dir, **options):
    kmeans = {"backend": "kmeans", "semantic": "wavlm", "model": wavlm_dir, "units": 8}
    return extract(speech, out, **{**kmeans, **options})


def test_extraction_writes_one_token_per_20_ms(speech, tmp_path, wavlm_dir):
    summary = run(speech, tmp_path, wavlm_dir)
    tokens = {uid: line.split() for uid, line in read_list(tmp_path / "text_int").items()}
    assert {uid: len(line) for uid, line in tokens.items()} == {"utt0": 50, "utt1": 51, "utt2": 51}
    assert all(0 <= int(token) < 8 for line in tokens.values() for token in line)
    assert "3 new" in summary and "0 quarantined" in summary
    assert not list(tmp_path.glob("*.part"))
    manifest = read_manifest(tmp_path)
    assert (manifest["backend"], manifest["rate"], manifest["vocab_size"]) == ("kmeans", 50, 8)


def test_killed_extraction_resumes_without_loss(speech, tmp_path, wavlm_dir):
    run(speech, tmp_path, wavlm_dir)
    whole = (tmp_path / "text_int").read_text()
    first, second, _ = whole.splitlines(keepends=True)
    (tmp_path / "text_int").unlink()
    (tmp_path / "text_int.part").write_text(first + second[: len(second) // 2])
    assert "2 new" in run(speech, tmp_path, wavlm_dir)
    assert (tmp_path / "text_int").read_text() == whole
    assert "nothing to do" in run(speech, tmp_path, wavlm_dir)


def test_array_jobs_merge_to_the_bytes_of_one_run(speech, tmp_path, wavlm_dir):
    run(speech, tmp_path / "one", wavlm_dir)
    out, shared = tmp_path / "jobs", {"manifest": tmp_path / "one/manifest.json"}
    assert "2 utterances, 2 new" in run(speech, out, wavlm_dir, split="1/2", **shared)
    assert "nothing to do" in run(speech, out, wavlm_dir, split="1/2", **shared)
    assert not (out / "text_int").exists()
    assert "1 utterances, 1 new" in run(speech, out, wavlm_dir, split="2/2", **shared)
    assert "3 utterances, 0 new" in run(speech, out, wavlm_dir, **shared)
    assert (out / "text_int").read_bytes() == (tmp_path / "one/text_int").read_bytes()
    assert not list(out.glob("*of2*"))
    with pytest.raises(ValueError, match="--split 3/2 is not i/n"):
        run(speech, out, wavlm_dir, split="3/2")
    with pytest.raises(ManifestError, match="the jobs need one codebook"):
        run(speech, tmp_path / "none", wavlm_dir, split="1/2")


def test_unreadable_speech_is_quarantined_and_retried(speech, tmp_path, wavlm_dir):
    table = read_list(speech)
    table["torn"] = str(tmp_path / "torn.wav")
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    write_list(tmp_path / "spk1.scp", table)
    assert "1 quarantined" in run(tmp_path / "spk1.scp", tmp_path / "out", wavlm_dir)
    assert (tmp_path / "out/quarantine.tsv").read_text().startswith("torn\t")
    soundfile.write(tmp_path / "torn.wav", speechlike(8000, 9), 16000)
    assert "1 new" in run(tmp_path / "spk1.scp", tmp_path / "out", wavlm_dir)
    assert len(read_list(tmp_path / "out/text_int")) == 4


def test_validation_reuses_the_codebook_of_training(speech, tmp_path, wavlm_dir):
    run(speech, tmp_path / "train", wavlm_dir)
    manifest = tmp_path / "train/manifest.json"
    run(speech, tmp_path / "valid", wavlm_dir, manifest=manifest)
    check_compatible(read_manifest(tmp_path / "train"), read_manifest(tmp_path / "valid"))
    lists = [(tmp_path / name / "text_int").read_text() for name in ("train", "valid")]
    assert lists[0] == lists[1]


def test_folder_of_another_tokenizer_is_refused(speech, tmp_path, wavlm_dir):
    run(speech, tmp_path, wavlm_dir)
    with pytest.raises(ManifestError, match="vocab_size 8, this run asks for 16"):
        run(speech, tmp_path, wavlm_dir, units=16)
    with pytest.raises(ManifestError, match="backend 'kmeans', this run asks for 'xcodec'"):
        run(speech, tmp_path, wavlm_dir, backend="xcodec", units=None)
    with pytest.raises(ManifestError, match="seed 0, this run asks for 1"):
        run(speech, tmp_path, wavlm_dir, seed=1)
    with pytest.raises(ValueError, match="units 8 are those of kmeans"):
        run(speech, tmp_path / "new", wavlm_dir, backend="xcodec")


def test_options_that_a_given_manifest_contradicts_are_refused(speech, tmp_path, wavlm_dir):
    run(speech, tmp_path / "train", wavlm_dir)
    other = {"manifest": tmp_path / "train/manifest.json", "model": wavlm_dir}
    with pytest.raises(ManifestError, match="vocab_size 8, this run asks for 16"):
        extract(speech, tmp_path / "valid", units=16, **other)
    with pytest.raises(ManifestError, match="backend 'kmeans', this run asks for 'xcodec'"):
        extract(speech, tmp_path / "valid", backend="xcodec", **other)
    extract(speech, tmp_path / "valid", **other)
    both = [(tmp_path / name / "text_int").read_text() for name in ("train", "valid")]
    assert both[0] == both[1]


def test_changed_weights_behind_a_manifest_are_noticed(speech, tmp_path, wavlm_dir):
    run(speech, tmp_path, wavlm_dir)
    book = dict(np.load(tmp_path / "kmeans.npz"))
    book["centroids"] = book["centroids"] + 1
    np.savez(tmp_path / "kmeans.npz", **book)
    with pytest.raises(ManifestError, match="sha256"):
        load_tokenizer(tmp_path)


def test_more_units_than_frames_are_refused(wavlm_dir):
    conf = {"backend": "wavlm", "model": wavlm_dir}
    with pytest.raises(ValueError, match="10 frames of speech cannot make 50 units"):
        KmeansTokenizer.fit([speechlike(3200)], conf, units=50)


def test_tokens_do_not_depend_on_loudness(wavlm_dir):
    conf = {"backend": "wavlm", "model": wavlm_dir}
    tokenizer = KmeansTokenizer.fit([speechlike(32000)], conf, units=8)
    wav = speechlike(16000, 1)
    assert (tokenizer.encode(wav) == tokenizer.encode(0.1 * wav)).mean() > 0.95


def test_clean_speech_keeps_the_frame_grid_at_every_rate(tmp_path):
    for fs in (8000, 16000, 22050, 24000, 32000, 44100, 48000):
        soundfile.write(tmp_path / "a.wav", speechlike(37 * fs // 50), fs)
        assert read_16k(tmp_path / "a.wav").size == 37 * 320


def test_xcodec_gives_its_first_layer(xcodec_dir, tmp_path):
    from transformers import XcodecModel

    from espnet_hybridse.tokens.xcodec import XcodecTokenizer

    model = XcodecModel.from_pretrained(xcodec_dir).eval()
    tokenizer = XcodecTokenizer(xcodec_dir)
    for samples in (16000, 16001, 5000):
        wav = speechlike(samples)
        tokens = tokenizer.encode(wav)
        assert tokens.shape == (-(-samples // 320),) and tokens.dtype == np.int64
    with torch.no_grad():
        codes = model.encode(torch.from_numpy(speechlike(16000))[None, None]).audio_codes
    assert np.array_equal(tokenizer.encode(speechlike(16000)), codes[0, 0].numpy())
    write_manifest(tmp_path, tokenizer.manifest())
    assert load_tokenizer(tmp_path).vocab_size == 1024


def test_missing_codec_names_the_way_out(tmp_path):
    from espnet_hybridse.tokens.xcodec import XcodecTokenizer

    with pytest.raises(ValueError, match="--backend kmeans"):
        XcodecTokenizer(str(tmp_path / "nowhere"))


def test_incompatible_manifests_name_the_field():
    a = {"backend": "kmeans", "id": "x", "sha256": "1", "rate": 50, "vocab_size": 8}
    check_compatible(a, {**a, "remark": "another key"})
    with pytest.raises(ManifestError, match="vocab_size is 8 in train but 16 in valid"):
        check_compatible(a, {**a, "vocab_size": 16}, "train", "valid")
    with pytest.raises(ManifestError, match="manifest lacks sha256"):
        write_manifest(".", {key: value for key, value in a.items() if key != "sha256"})


@pytest.mark.slow
def test_command_line(speech, tmp_path, wavlm_dir, capsys):
    command = ["tokenize", "--spk1", str(speech), "--out", str(tmp_path), "--semantic", "wavlm"]
    command += ["--model", wavlm_dir]
    assert main([*command, "--units", "8", "--nj", "2"]) == 0
    assert "3 utterances" in capsys.readouterr().out
    assert json.loads((tmp_path / "manifest.json").read_text())["vocab_size"] == 8
    assert main([*command, "--units", "9"]) == 2
    assert "asks for 9" in capsys.readouterr().err
