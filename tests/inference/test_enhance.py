"""`hybridse enhance` and Enhancer: any file in, the same kind of file out, whatever happens."""

import io
import json
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from espnet_hybridse import Enhancer
from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import read_list
from espnet_hybridse.inference.stream import resample_blocks

FORMATS = [
    ("a.wav", 8000, 1, "PCM_16"),
    ("b.wav", 44100, 2, "PCM_24"),
    ("c.wav", 11025, 1, "FLOAT"),
    ("d.flac", 22050, 1, "PCM_16"),
    ("e.flac", 48000, 3, "PCM_24"),
    ("deep/f.ogg", 32000, 1, "VORBIS"),
    ("deep/g.opus", 48000, 2, "OPUS"),
    ("deep/er/h.mp3", 24000, 1, "MPEG_LAYER_III"),
    ("i.aiff", 16000, 1, "PCM_16"),
]


def noise(samples, channels=1, seed=0):
    wav = 0.1 * np.random.default_rng(seed).normal(size=(samples, channels))
    return wav.astype(np.float32)[:, 0] if channels == 1 else wav.astype(np.float32)


def write(path, wav, fs, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    container = {".opus": "OGG", ".mp3": "MP3"}.get(path.suffix)
    soundfile.write(path, wav, fs, subtype=subtype, format=container)
    return path


@pytest.fixture(scope="module")
def disc(models):
    return Enhancer.from_pretrained(models / "disc")


def test_every_kind_of_file_comes_back_as_it_was(models, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    for name, fs, channels, subtype in FORMATS:
        write(source / name, noise(fs // 2 + 7, channels), fs, subtype)
    (source / "notes.txt").write_text("no audio")
    (source / ".hidden.wav").write_bytes(b"")
    model = ["--model", str(models / "disc")]
    assert main(["enhance", str(source), str(out), *model, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["summary"]["enhanced"] == len(FORMATS) == len(lines) - 1
    assert lines[-1]["summary"]["peak_memory_gb"] > 0.1
    for name, fs, channels, subtype in FORMATS:
        before, after = soundfile.info(source / name), soundfile.info(out / name)
        assert (after.samplerate, after.channels, after.subtype) == (fs, channels, subtype)
        assert (after.frames, after.format) == (before.frames, before.format)
    # Inside IN, from a pattern: results of another run are no input.
    pattern = str(source / "**" / "*.flac")
    arguments = ["enhance", pattern, str(source / "new"), *model, "--suffix", ".wav"]
    assert main(arguments) == 0
    assert main([*arguments[:1], str(source), *arguments[2:]]) == 0
    text = capsys.readouterr().out
    assert "2 enhanced" in text and f"{len(FORMATS) - 2} enhanced" in text
    assert soundfile.info(source / "new" / "e.wav").subtype == "PCM_24"


def test_short_files_together_are_those_alone(models, tmp_path, capsys):
    lengths = [(16000, 4000), (16000, 4000), (8000, 3000), (16000, 5001), (8000, 3333)]
    for number, (fs, samples) in enumerate(lengths):
        write(tmp_path / "in" / f"{number}.wav", noise(samples, seed=number), fs, "FLOAT")
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF, but no WAV")
    for batch in ("1", "3"):
        arguments = ["enhance", str(tmp_path / "in"), str(tmp_path / batch), "--batch", batch]
        assert main([*arguments, "--model", str(models / "hybrid")]) == 0
        assert "5 enhanced" in (text := capsys.readouterr().out) and "1 quarantined" in text
    for number in range(len(lengths)):
        alone, _ = soundfile.read(tmp_path / "1" / f"{number}.wav")
        together, _ = soundfile.read(tmp_path / "3" / f"{number}.wav")
        np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("fs", [16000, 22050])
def test_many_are_those_one_by_one(models, fs):
    enhancer = Enhancer.from_pretrained(models / "hybrid", batch=3, segment_s=0.6, overlap_s=0.2)
    sizes = (4000, 3000, 3000, 1, 20000, 777)
    wavs = [noise(size, seed=size) for size in sizes] + [noise(2000, 2).T, np.zeros(50, "f4")]
    for wav, out in zip(wavs, enhancer.many(wavs, fs), strict=True):
        assert out.shape == wav.shape
        np.testing.assert_allclose(out, enhancer(wav, fs), atol=1e-5)


@pytest.mark.parametrize("fs", [8000, 11025, 22050, 96000])
@pytest.mark.parametrize("shape", [(30000,), (2, 30000), (1,), (3, 5)])
def test_a_stream_gives_what_the_whole_gives(models, fs, shape):
    enhancer = Enhancer.from_pretrained(models / "disc", segment_s=0.5, overlap_s=0.1)
    wav = noise(30000, 3).T.flat[: np.prod(shape)].reshape(shape)
    blocks = np.array_split(wav, max(wav.shape[-1] // 900, 1), axis=-1)
    out = np.concatenate(list(enhancer.stream(blocks, fs)), axis=-1)
    assert out.shape == wav.shape
    np.testing.assert_allclose(out, enhancer(wav, fs), atol=1e-5)


def test_a_stream_sounds_as_soon_as_one_segment_is_there(disc):
    enhancer = Enhancer(disc.loaded, segment_s=0.5, overlap_s=0.1)
    came_in, heard = [0], []

    def blocks():
        for _ in range(100):
            came_in[0] += 160
            yield noise(160, seed=came_in[0])

    for block in enhancer.stream(blocks(), 16000):
        heard.append((came_in[0], block.size))
    assert heard[:2] == [(8000, 6400), (14400, 6400)]
    assert sum(size for _, size in heard) == 16000


def test_resampled_blocks_are_the_resampled_whole():
    import soxr

    wav = noise(20000, 2).T
    blocks = resample_blocks(np.array_split(wav, 7, axis=1), 11025, 16000)
    whole = soxr.resample(wav.T, 11025, 16000, quality="VHQ").T
    np.testing.assert_allclose(np.concatenate(list(blocks), axis=1), whole, atol=1e-6)


def test_seams_are_not_heard_and_segments_agree_with_the_whole(models):
    wav = noise(64000)
    plain = {"gate": "off"}  # which takes noise alone away
    whole = Enhancer.from_pretrained(models / "disc", segment_s=10, **plain)(wav, 16000)
    cut = Enhancer.from_pretrained(models / "disc", segment_s=1.0, overlap_s=0.4, **plain)(
        wav, 16000
    )
    for seam in range(9600, 54000, 9600):
        before, after = cut[seam - 3200 : seam], cut[seam + 6400 : seam + 9600]
        level = [np.sqrt(np.mean(part**2)) for part in (before, after)]
        assert abs(20 * np.log10(level[0] / level[1])) < 0.5
    # Not the same numbers: a segment's level is its own. Random weights exaggerate that.
    error = np.sqrt(np.mean((cut - whole) ** 2) / np.mean(whole**2))
    assert error < 0.25


def test_what_a_lookahead_hears_is_not_written(disc):
    wav = noise(28000)
    looking = Enhancer(disc.loaded, gate="off", segment_s=1.0, overlap_s=0.0, lookahead_s=0.25)
    first, second = looking(wav[:16000], 16000), looking(wav[8000:24000], 16000)
    out = looking(wav, 16000)
    np.testing.assert_allclose(out[:12000], first[:12000], atol=1e-6)
    np.testing.assert_allclose(out[12000:18000], second[4000:10000], atol=1e-6)


def test_memory_does_not_grow_with_the_length(disc):
    held, most = [], 0

    def blocks():
        for number in range(60):
            held.append(number)
            yield noise(8000, seed=number)

    enhancer = Enhancer(disc.loaded, segment_s=1.0, overlap_s=0.2)
    given = 0
    for block in enhancer.stream(blocks(), 16000):
        given += block.size
        most = max(most, len(held) * 8000 - given)
    assert given == 60 * 8000 and most <= 3 * 16000


def test_mix_and_shared_mask(models, disc):
    wav = noise(8000, 2).T
    wav[1] = 0.5 * wav[0]
    shared = Enhancer(disc.loaded, shared_mask=True)(wav, 16000)
    np.testing.assert_allclose(shared[1], 0.5 * shared[0], atol=1e-6)
    assert not np.allclose(shared, wav, atol=1e-3)
    opposite = np.stack([wav[0], -wav[0]])
    assert np.abs(Enhancer(disc.loaded, shared_mask=True)(opposite, 16000)).max() > 0.01
    wet = disc(wav, 16000)
    half = Enhancer(disc.loaded, mix=0.5)(wav, 16000)
    np.testing.assert_allclose(half, (wav + wet) / 2, atol=1e-6)
    np.testing.assert_array_equal(Enhancer(disc.loaded, mix=0.0)(wav, 16000), wav)
    with pytest.raises(ValueError, match="mix=1.5 must lie in"):
        Enhancer(disc.loaded, mix=1.5)
    with pytest.raises(ValueError, match="at most half of it"):
        Enhancer(disc.loaded, segment_s=1.0, overlap_s=0.6)
    with pytest.raises(ValueError, match="lookahead_s=0.3.*at most half of it"):
        Enhancer(disc.loaded, segment_s=1.0, overlap_s=0.0, lookahead_s=0.3)
    for segment_s in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a segment has at least 0.1 s"):
            Enhancer(disc.loaded, segment_s=segment_s)


def test_threads_share_an_enhancer(models):
    enhancer = Enhancer.from_pretrained(models / "hybrid")
    wavs = [noise(4000 + 100 * seed, seed=seed) for seed in range(6)]
    alone, done = [enhancer(wav, 16000) for wav in wavs], [None] * len(wavs)

    def work(number):
        done[number] = enhancer(wavs[number], 16000)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(wavs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, done, strict=True):
        np.testing.assert_array_equal(one, other)


def test_torch_in_torch_out(disc):
    wav = torch.from_numpy(noise(4000)).double()
    out = disc(wav, 16000)
    assert out.dtype == torch.float64 and out.shape == wav.shape
    np.testing.assert_allclose(out.numpy(), disc(wav.numpy(), 16000), atol=1e-6)


def test_tensors_without_a_type_of_numpy_and_other_things(disc):
    wav = torch.from_numpy(noise(4000))
    out = disc(wav.bfloat16(), 16000)
    assert out.dtype == torch.bfloat16
    np.testing.assert_allclose(out.float(), disc(wav.bfloat16().float(), 16000), atol=0.01)
    for bad, problem in ((wav.to(torch.int16), "divide int16"), ([0.0] * 4000, "is a list")):
        with pytest.raises(ValueError, match=problem):
            disc(bad, 16000)
    with pytest.raises(ValueError, match="is a Tensor; expected a numpy array"):
        list(disc.stream([wav], 16000))


def test_a_branch_of_a_hybrid(models, disc, tmp_path):
    wav = noise(4000)
    for source in (models, models / "hybrid", models / "disc"):
        branch = Enhancer.from_pretrained(source, branch="disc")
        np.testing.assert_array_equal(branch(wav, 16000), disc(wav, 16000))
    assert Enhancer.from_pretrained(models).loaded.branch == "hybrid"
    shutil.copytree(models, tmp_path / "models")
    shutil.rmtree(tmp_path / "models/gen")
    left = Enhancer.from_pretrained(tmp_path / "models/hybrid", branch="disc")
    np.testing.assert_array_equal(left(wav, 16000), disc(wav, 16000))
    with pytest.raises(FileNotFoundError, match="or write 'gen: null' to run the hybrid without"):
        Enhancer.from_pretrained(tmp_path / "models")
    config = tmp_path / "models/hybrid/config.yaml"
    config.write_text(config.read_text().replace("gen: ../gen", "gen: null"))
    alone = Enhancer.from_pretrained(tmp_path / "models")(wav, 16000)
    np.testing.assert_allclose(alone, disc(wav, 16000), atol=1e-6)
    with pytest.raises(FileNotFoundError, match="has no branch 'gen'"):
        Enhancer.from_pretrained(models / "disc", branch="gen")
    with pytest.raises(FileNotFoundError, match="no such folder, zip or checkpoint"):
        Enhancer.from_pretrained(models / "none" / "at" / "all")


def test_the_parts_of_a_hybrid(models):
    enhancer, wav = Enhancer.from_pretrained(models / "hybrid"), noise(8000)
    parts = enhancer.branches(wav, 16000)
    np.testing.assert_allclose(parts["fused"], enhancer(wav, 16000), atol=1e-6)
    disc = Enhancer.from_pretrained(models / "hybrid", branch="disc")
    np.testing.assert_allclose(parts["disc"], disc(wav, 16000), atol=1e-6)
    tensors = enhancer.branches(torch.from_numpy(wav).double(), 16000)
    assert tensors["mask"].dtype == torch.float64 and tensors["mask"].shape == parts["mask"].shape
    np.testing.assert_allclose(tensors["fused"], parts["fused"], atol=1e-6)
    for bad, problem in ((noise(8000, 2).T, "one channel"), (wav.astype(np.int16), "divide int16")):
        with pytest.raises(ValueError, match=problem):
            enhancer.branches(bad, 16000)
    with pytest.raises(ValueError, match="resample"):
        enhancer.branches(wav, 12000)


def test_reduced_precision_stays_close(disc, models):
    wav = noise(8000)
    low = Enhancer.from_pretrained(models / "disc", dtype="bfloat16")(wav, 16000)
    exact = disc(wav, 16000)
    assert 0 < np.abs(low - exact).max() < 0.05
    with pytest.raises(ValueError, match="dtype='half' is not one of"):
        Enhancer.from_pretrained(models / "disc", dtype="half")


def test_standard_input_and_output(models, tmp_path, monkeypatch):
    path = write(tmp_path / "in.flac", noise(9000), 22050)
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=written, flush=written.flush))
    assert main(["enhance", "-", "-", "--model", str(models / "disc")]) == 0
    monkeypatch.undo()
    assert written.getvalue().startswith(b"fLaC")
    info = soundfile.info(io.BytesIO(written.getvalue()))
    assert (info.format, info.samplerate, info.frames) == ("FLAC", 22050, 9000)
    assert main(["enhance", str(tmp_path), "-", "--model", str(models / "disc")]) == 2


def test_what_is_there_is_kept_unless_settings_change(models, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(3):
        write(source / f"{number}.wav", noise(4000, seed=number), 16000)
    run = ["enhance", str(source), str(out), "--model", str(models / "disc")]
    out.mkdir()
    (out / "0.wav").write_bytes(b"somebody's")
    assert main(run) == 2
    assert "0.wav, that no run of this command wrote" in capsys.readouterr().err
    assert (out / "0.wav").read_bytes() == b"somebody's"
    assert main([*run, "--overwrite"]) == 0
    assert "3 enhanced" in capsys.readouterr().out
    assert main([*run, "--resume"]) == 0
    assert "0 enhanced" in (text := capsys.readouterr().out) and "3 were there" in text
    # Some of the files with other settings, then all: what the first settings wrote is not kept.
    assert main([*run, "--mix", "0.5", "--max_utts", "1"]) == 0
    assert main([*run, "--mix", "0.5"]) == 0
    assert "2 enhanced" in (text := capsys.readouterr().out) and "1 were there" in text
    (source / "bad.wav").write_text("bad")
    assert main([*run, "--mix", "0.5", "--strict"]) == 3
    assert "bad.wav" in (out / "quarantine.tsv").read_text()
    (source / "bad.wav").unlink()
    assert main([*run, "--mix", "0.5", "--strict"]) == 0
    assert not (out / "quarantine.tsv").exists()
    scp = tmp_path / "wav.scp"
    scp.write_text(f"a\t{source}/0.wav\nb cat {source}/1.wav |\n")
    assert main(["enhance", str(scp), str(tmp_path / "list"), *run[3:]]) == 0
    assert read_list(tmp_path / "list/spk1.scp").keys() == {"a"}
    assert "commands in lists are not run" in (tmp_path / "list/quarantine.tsv").read_text()


def test_wrong_use_is_named_before_work_starts(models, tmp_path, capsys):
    path = write(tmp_path / "in" / "a.wav", noise(4000), 16000)
    write(tmp_path / "in" / "a.flac", noise(4000), 16000)
    model = ["--model", str(models / "disc")]
    for arguments, problem in (
        ([str(path), str(path)], "IN and OUT are the same"),
        ([str(tmp_path / "in"), str(tmp_path / "in")], "IN and OUT are the same"),
        ([str(path), str(tmp_path / "b.txt")], "no audio file's ending"),
        ([str(tmp_path / "*.ogg"), str(tmp_path / "o")], "no audio"),
        ([str(tmp_path / "in"), str(tmp_path / "o"), "--suffix", ".wav"], "would both be written"),
        ([str(path), str(tmp_path / "o"), "--batch", "0"], "--batch 0 must be at least 1"),
        (
            [str(path), str(tmp_path / "o"), "--subtype", "INT"],
            "--subtype INT is not one of",
        ),
    ):
        assert main(["enhance", *arguments, *model]) == 2
        assert problem in capsys.readouterr().err
    scp = tmp_path / "wav.scp"
    scp.write_text(f"../../evil {path}\n")
    assert main(["enhance", str(scp), str(tmp_path / "o"), *model]) == 2
    assert "would be written outside" in capsys.readouterr().err


@pytest.mark.parametrize("fs", RATES)
def test_all_rates_through_files(disc, models, tmp_path, fs):
    wav = noise(fs // 4 + 1)
    path = write(tmp_path / "a.wav", wav, fs, "FLOAT")
    assert (
        main(["enhance", str(path), str(tmp_path / "b.wav"), "--model", str(models / "disc")]) == 0
    )
    done, rate = soundfile.read(tmp_path / "b.wav", dtype="float32")
    assert rate == fs
    np.testing.assert_allclose(done, disc(wav, fs), atol=1e-6)


def test_peaks_above_full_scale_stay_in_a_float_file(models, tmp_path):
    path = write(tmp_path / "a.wav", 20 * noise(4000), 16000, "FLOAT")
    run = ["enhance", str(path), "--model", str(models / "disc"), "--mix", "0"]
    assert main([*run, str(tmp_path / "b.wav")]) == main([*run, str(tmp_path / "b.flac")]) == 0
    before = soundfile.read(path)[0]
    np.testing.assert_array_equal(soundfile.read(tmp_path / "b.wav")[0], before)
    done, _ = soundfile.read(tmp_path / "b.flac")
    np.testing.assert_allclose(done, before.clip(-1, 1), atol=1e-6)


def examples(page):
    """The Python blocks of a page that enhance something."""
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    return [block for block in blocks if "import Enhancer" in block]


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for channels in (1, 2):
        write(Path("noisy.wav"), noise(6000, channels), 11025)
        [example] = examples("README.md")
        exec(example, {})
        (noisy, fs), (clean, same) = soundfile.read("noisy.wav"), soundfile.read("clean.wav")
        assert clean.shape == noisy.shape and fs == same
        assert not np.allclose(clean, noisy, atol=1e-3)


@pytest.mark.slow
def test_the_example_of_the_documentation_runs():
    noisy, other = noise(6000), noise(5000, 2).T
    names = {"noisy": noisy, "other": other, "fs": 11025, "blocks": np.array_split(noisy, 4)}
    [example] = examples("docs/enhance.md")
    exec(example, names)
    assert names["clean"].shape == noisy.shape
    assert [wav.shape for wav in names["several"]] == [noisy.shape, other.shape]
    assert names["block"].ndim == 1 and not np.allclose(names["clean"], noisy, atol=1e-3)
