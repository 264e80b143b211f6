"""Columns of the results table that a model was trained on are found from its configuration."""

import pytest
import yaml

from espnet_hybridse.model.files import WEIGHTS_STAMP, ModelFiles
from espnet_hybridse.release.in_loss import columns_in_loss, model_behind
from espnet_hybridse.release.pack import model_config

PARTS = {name: {} for name in ("encoder_conf", "decoder_conf", "separator_conf")}
BASE = {
    "encoder": "stft",
    "decoder": "stft",
    "separator": "tfgridnet_sfi",
    "model_conf": {},
    **PARTS,
}


def term(name, weight=1.0, **conf):
    return {
        "name": name,
        "conf": conf,
        "wrapper": "fixed_order",
        "wrapper_conf": {"weight": weight},
    }


def model(folder, *terms, **changes):
    folder.mkdir()
    config = {**BASE, "criterions": list(terms), **changes}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize(
    "terms, changes, columns",
    [
        ([term("mr_stft"), term("estoi", 2.0)], {}, ["ESTOI"]),
        ([term("estoi", 0.0), term("pmsqe")], {}, ["PESQ"]),
        ([term("estoi", only_for_test=True)], {}, []),
        ([term("sqa", checkpoint="dnsmos")], {}, ["DNSMOS OVRL", "DNSMOS SIG", "DNSMOS BAK"]),
        ([term("sqa", checkpoint=None)], {"sqa_checkpoint": "dnsmos"}, ["DNSMOS OVRL"]),
        ([term("sqa", checkpoint="o/n")], {}, ["DNSMOS OVRL", "NISQA", "UTMOS", "SCOREQ"]),
        ([term("sqa", checkpoint=None)], {"sqa_checkpoint": "none"}, []),
        ([], {"in_loss": ["SCOREQ"]}, ["SCOREQ"]),
    ],
)
def test_columns_behind_criterions(tmp_path, terms, changes, columns):
    found = columns_in_loss(ModelFiles.read(model(tmp_path / "m", *terms, **changes)))
    assert found[: len(columns)] == columns and bool(found) == bool(columns)


def test_hybrid_was_trained_on_what_its_branches_were(tmp_path):
    model(tmp_path / "disc", term("estoi"))
    parts = {"separator": "uses_fusion", "separator_conf": {"disc": "../disc"}}
    hybrid = model(tmp_path / "hybrid", term("si_snr"), **parts)
    assert columns_in_loss(ModelFiles.read(hybrid)) == ["ESTOI", "SI-SDR"]


def test_what_a_training_began_from_is_in_the_weights_still(tmp_path, caplog):
    start = model(tmp_path / "start", in_loss=["PESQ"])
    names = {"init_param": [f"{start}/model.pth:::separator.mask"]}
    tuned = model(tmp_path / "tuned", term("estoi"), **names)
    assert columns_in_loss(ModelFiles.read(tuned)) == ["PESQ", "ESTOI"]
    lost = model(tmp_path / "lost", term("estoi"), init_param=["gone/model.pth"])
    assert columns_in_loss(ModelFiles.read(lost)) == ["ESTOI"]
    assert "began from gone, which is no model" in caplog.text
    itself = model(tmp_path / "itself", init_param=[f"{tmp_path}/itself/model.pth"])
    assert columns_in_loss(ModelFiles.read(itself)) == []


def test_model_is_known_by_what_enhance_left_beside_the_files(tmp_path):
    trained = model(tmp_path / "m", term("estoi"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/spk1.scp").write_text("u u.wav\n")
    assert model_behind(tmp_path / "out/spk1.scp") is None
    stamp = tmp_path / "out" / WEIGHTS_STAMP
    stamp.write_text(f"{trained}/model.pth 17\nmix 0.5 disc\n")
    for enhanced in (tmp_path / "out/spk1.scp", tmp_path / "out"):
        assert columns_in_loss(model_behind(enhanced)) == ["ESTOI"]
    stamp.write_text("/gone/model.pth 17")
    assert model_behind(tmp_path / "out") is None


def test_packed_configuration_forgets_the_network_and_keeps_the_columns():
    config = {**BASE, "preprocessor": "hybridse", "criterions": [term("sqa", checkpoint="/home/x")]}
    assert model_config(config)["criterions"] == []
