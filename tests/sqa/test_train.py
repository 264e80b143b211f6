"""`hybridse train-sqa`: a network that learns scores and that the SQA loss reads."""

import json

import numpy as np
import pytest
import soundfile
import torch
import yaml

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.lists import write_list
from espnet_hybridse.sqa.loss import SQALoss
from espnet_hybridse.sqa.rated import load_rated

CONF = {
    "heads": {"pesq": {"column": "PESQ", "range": [1.0, 4.65]}, "mos": {"column": "MOS"}},
    "network": {
        "wavlm": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "conv_dim": [8, 8],
            "conv_kernel": [10, 8],
            "conv_stride": [5, 8],
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "num_buckets": 8,
            "max_bucket_distance": 16,
            "apply_spec_augment": False,
        },
        "dim": 16,
        "layers": 1,
        "num_heads": 2,
        "feedforward": 16,
    },
    "chunk_s": 0.2,
    "batch_size": 4,
    "lr": 0.01,
    "max_epoch": 8,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Tones in noise at three rates; both scores follow from how much noise there is."""
    folder = tmp_path_factory.mktemp("rated")
    rng = np.random.default_rng(0)
    table, lines = {}, []
    for index in range(48):
        share, fs = index / 47, (8000, 16000, 24000)[index % 3]
        tone = np.sin(2 * np.pi * 440 * np.arange(fs // 2) / fs)
        wav = 0.1 * ((1 - share) * tone + share * rng.normal(size=fs // 2))
        uid = f"utt{index:02d}"
        table[uid] = folder / f"{uid}.wav"
        soundfile.write(table[uid], wav, fs)
        scores = {"PESQ": 4.5 - 3.3 * share, "MOS": None if index == 5 else 5 - 3.8 * share}
        row = {"uid": uid, "stamp": "0", "fs": fs, "seconds": 0.5, "scores": scores}
        lines.append({**row, "failed": {}, "weights": {}, "notes": {}, "cost_s": {}})
    uids = list(table)
    write_list(folder / "train.scp", {uid: table[uid] for uid in uids[::2]})
    write_list(folder / "valid.scp", {uid: table[uid] for uid in uids[1::2]})
    (folder / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "train_sqa.yaml").write_text(yaml.safe_dump(CONF))
    return folder


def command(corpus, exp, *options):
    train, valid = (f"{corpus}/{name}.scp={corpus}/scores.jsonl" for name in ("train", "valid"))
    config = str(corpus / "train_sqa.yaml")
    given = ["--train", train, "--valid", valid, "--config", config, "--exp", str(exp)]
    return ["train-sqa", *given, "--nj", "1", "--device", "cpu", *options]


def test_scores_are_learned_and_the_loss_reads_the_network(corpus, tmp_path, capsys):
    assert main(command(corpus, tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "on 24 held-out utterances" in printed and "on 23 held-out utterances" in printed
    valid = json.loads((tmp_path / "valid.json").read_text())
    assert valid["pesq"]["srcc"] > 0.8 and valid["mos"]["srcc"] > 0.8
    loss = SQALoss(checkpoint=str(tmp_path))
    loss.set_batch(16000)
    wavs = [soundfile.read(corpus / f"utt{index:02d}.wav", dtype="float32")[0] for index in (1, 44)]
    clean, noisy = (torch.from_numpy(wav)[None].requires_grad_() for wav in wavs)
    assert loss(clean, clean).item() < loss(noisy, noisy).item()
    loss(noisy, noisy).sum().backward()
    assert noisy.grad.abs().max() > 0


def test_an_interrupted_training_gives_what_one_in_one_go_gives(corpus, tmp_path, monkeypatch):
    assert main(command(corpus, tmp_path / "whole")) == 0
    from espnet_hybridse.sqa import train

    calls = []

    def killed_in_the_fourth_epoch(*given):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("killed")
        return original(*given)

    original = train.correlations
    with monkeypatch.context() as patched:
        patched.setattr(train, "correlations", killed_in_the_fourth_epoch)
        assert main(command(corpus, tmp_path / "parts")) == 2
    assert main(command(corpus, tmp_path / "parts")) == 0
    whole, parts = (
        torch.load(tmp_path / name / "model.pt", weights_only=True)["model"]
        for name in ("whole", "parts")
    )
    for name, value in whole.items():
        torch.testing.assert_close(value, parts[name])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"heads": {"x": {"column": "UTMOS"}}}, "head 'x': no score called 'UTMOS'"),
        ({"heads": {}}, "heads is empty"),
        ({"heads": {"x": {"column": "MOS", "range": [5, 1]}}}, "is not {column: NAME, range:"),
        ({"chunk": 1}, "chunk"),
        ({"network": {"depth": 2}}, "depth"),
        ({"lr": 0}, "lr=0 must be above 0"),
    ],
)
def test_wrong_configurations_are_named(corpus, tmp_path, capsys, change, message):
    config = tmp_path / "wrong.yaml"
    config.write_text(yaml.safe_dump({**CONF, **change}))
    given = command(corpus, tmp_path / "exp")
    given[given.index("--config") + 1] = str(config)
    assert main(given) == 2
    assert message in capsys.readouterr().err


def test_lists_that_do_not_fit_are_named(corpus, tmp_path, capsys):
    same = ["--train", f"{corpus}/valid.scp={corpus}/scores.jsonl"]
    assert main(command(corpus, tmp_path, *same)) == 2
    assert "--train and --valid share 24 utterances, such as utt01" in capsys.readouterr().err
    write_list(tmp_path / "other.scp", {"nobody": corpus / "utt00.wav"})
    with pytest.raises(ValueError, match="have no utterance in common"):
        load_rated([(tmp_path / "other.scp", corpus / "scores.jsonl")], {"pesq": "PESQ"})
    with pytest.raises(ValueError, match="no such file; make it with hybridse score"):
        load_rated([(corpus / "train.scp", tmp_path / "none.jsonl")], {"pesq": "PESQ"})
