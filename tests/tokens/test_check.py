"""Tokens that would spoil a training are named before it starts."""

from pathlib import Path

import numpy as np
import pytest

from espnet_hybridse.tokens.check import SAMPLED, check_tokens, sampled_lines
from espnet_hybridse.tokens.manifest import ManifestError

CONF = Path(__file__).parents[2] / "conf/mini"


def write(folder, rows):
    (folder / "text_int").write_text("".join(f"{uid} {text}\n" for uid, text in rows.items()))
    return folder


def good(count, vocab_size=16):
    rng = np.random.default_rng(0)
    return {f"u{i:05}": " ".join(map(str, rng.integers(vocab_size, size=50))) for i in range(count)}


@pytest.mark.parametrize("count", [1, 3, SAMPLED // 2, 3 * SAMPLED])
def test_good_tokens_pass_and_lines_are_whole(tmp_path, count):
    rows = good(count)
    check_tokens(write(tmp_path, rows), 16)
    lines = sampled_lines(tmp_path / "text_int", SAMPLED)
    assert 0.4 * min(count, SAMPLED) <= len(lines) <= SAMPLED
    for line in lines:
        uid, text = line.strip().split(" ", 1)
        assert rows[uid] == text


@pytest.mark.parametrize("token", ["16", "-1", "3.5", "x"])
def test_a_token_outside_of_the_vocabulary_is_named(tmp_path, token):
    rows = good(5)
    rows["u00003"] += f" {token}"
    with pytest.raises(ManifestError, match=f"u00003 has the token {token}, .* 0 to 15"):
        check_tokens(write(tmp_path, rows), 16)


def test_a_codec_that_gives_one_token_for_everything_is_named(tmp_path):
    rows = {f"u{i}": " ".join(["7"] * 99 + (["3"] if i == 0 else [])) for i in range(9)}
    with pytest.raises(ManifestError, match=r"99.9 % of the tokens are 7"):
        check_tokens(write(tmp_path, rows), 16)
    check_tokens(write(tmp_path, {"u": "7 7 7"}), 16)


def test_the_training_command_refuses_them(rendered, tmp_path, capsys):
    from espnet_hybridse.cli.main import main
    from espnet_hybridse.fileio.lists import read_list

    sets = rendered / "dump/raw/train"
    uids = read_list(sets / "wav.scp")
    folder = tmp_path / "tokens/train"
    folder.mkdir(parents=True)
    write(folder, {uid: "1 2 99" for uid in uids})
    fields = '"backend": "kmeans", "id": "x", "sha256": "0", "rate": 50, "vocab_size": 16'
    (folder / "manifest.json").write_text("{" + fields + "}")
    command = ["train", "--branch", "gen", f"--config={CONF}/train_gen.yaml"]
    command += [f"--exp={tmp_path}/exp", f"--train={sets}", f"--valid={sets}"]
    assert main([*command, f"--tokens={tmp_path}/tokens"]) == 2
    assert "has the token 99" in capsys.readouterr().err
    assert not (tmp_path / "exp/train.log").exists()
