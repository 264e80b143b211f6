"""The challenge's own networks, tiny and random, through the path that the published ones take."""

import json
import sys

import numpy as np
import pytest
import soxr
import torch
import yaml
from helpers.golden_metrics import pair

from espnet_hybridse.scoring.engine import score
from espnet_hybridse.scoring.metrics import character_accuracy
from espnet_hybridse.scoring.metrics.character_accuracy import normalise
from espnet_hybridse.scoring.metrics.metric import Context, MetricFailed, Setup
from espnet_hybridse.scoring.metrics.registry import METRICS, check_keys

SPEECH = {
    "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def context(column, folder, **known):
    """What `score --models KEY=folder` tells the metric."""
    metric = METRICS[column]
    setup = Setup(models={metric.key: str(folder)})
    if (reason := metric.available(setup)) and "package" in reason:
        pytest.skip(reason)
    assert metric.available(setup) is None
    return Context("u", setup=setup, **known)


def value_of(column, folder, case="goforward-8k", **known):
    inf, ref, fs = pair(case)
    return METRICS[column].compute(inf, ref, fs, context(column, folder, **known))


def at_16k(case):
    inf, ref, fs = pair(case)
    return [soxr.resample(wav, fs, 16000) for wav in (inf, ref)]


def test_speechbertscore_is_the_papers_precision_at_layer_8(tmp_path):
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    HubertModel(HubertConfig(**SPEECH, num_hidden_layers=10)).save_pretrained(tmp_path)
    whole = HubertModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():  # every layer, one file after the other
        mine, clean = (
            whole(torch.tensor(wav)[None], output_hidden_states=True).hidden_states[8][0].numpy()
            for wav in at_16k("goforward-8k")
        )
    norms = np.linalg.norm(mine, axis=1)[:, None] * np.linalg.norm(clean, axis=1)
    expected = (mine @ clean.T / norms).max(axis=1).mean()
    assert value_of("SpeechBERTScore", tmp_path) == pytest.approx(expected, abs=1e-5)


def test_phoneme_similarity_is_that_of_the_published_tokenizer(tmp_path):
    from rapidfuzz.distance import Levenshtein
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2PhonemeCTCTokenizer,
    )

    symbols = ["<pad>", "<s>", "</s>", "<unk>", *"aeioun", "tʃ", "ɛɪ", "ɾ", "ŋ", "ks", "ː"]
    (tmp_path / "vocab.json").write_text(json.dumps({s: i for i, s in enumerate(symbols)}))
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        **SPEECH, num_hidden_layers=1, vocab_size=len(symbols), pad_token_id=0,
        feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip
    model = Wav2Vec2ForCTC(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(40)  # fresh weights hear one phoneme for ever
    model.save_pretrained(tmp_path)
    extract = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    extract.save_pretrained(tmp_path)

    tokenizer = Wav2Vec2PhonemeCTCTokenizer(str(tmp_path / "vocab.json"), do_phonemize=False)
    texts = []
    for wav in at_16k("goforward-8k"):
        inputs = extract(wav, sampling_rate=16000, return_tensors="pt").input_values
        with torch.no_grad():
            best = model(inputs).logits.argmax(-1)
        texts.append(tokenizer.batch_decode(best)[0].replace(" ", ""))
    assert len(texts[1]) > 5 and texts[0] != texts[1]
    expected = 1 - Levenshtein.distance(*texts) / len(texts[1])
    assert value_of("LPS", tmp_path) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("own_rate", [True, False])
def test_nisqa_is_that_of_torchmetrics_at_the_files_rate(tmp_path, monkeypatch, own_rate):
    nisqa = pytest.importorskip("torchmetrics.functional.audio.nisqa")
    args = {
        "cnn_pool_1": [24, 7], "cnn_pool_2": [12, 5], "cnn_pool_3": [6, 3], "cnn_dropout": 0.2,
        "cnn_kernel_size": [3, 3], "cnn_c_out_1": 4, "cnn_c_out_2": 4, "cnn_c_out_3": 8,
        "td_sa_d_model": 8, "td_sa_num_layers": 1, "td_sa_nhead": 1, "td_sa_dropout": 0.1,
        "td_sa_h": 8, "pool_att_h": 8, "pool_att_dropout": 0.1,
        "ms_sr": None if own_rate else 48000, "ms_hop_length": 0.01, "ms_win_length": 0.02,
        "ms_n_fft": 4096, "ms_n_mels": 48,
        "ms_fmax": 20000, "ms_seg_length": 15, "ms_seg_hop_length": 4, "ms_max_segments": 100,
    }  # fmt: skip
    torch.manual_seed(0)
    state = nisqa._NISQADIM(args).state_dict()
    torch.save({"args": args, "model_state_dict": state}, tmp_path / "nisqa.tar")
    monkeypatch.setattr(nisqa, "NISQA_DIR", str(tmp_path))
    nisqa._load_nisqa_model.cache_clear()
    inf, _, fs = pair("goforward-8k")
    rate = fs if own_rate else 48000
    wav = torch.tensor(inf if own_rate else soxr.resample(inf, fs, 48000))
    expected = nisqa.non_intrusive_speech_quality_assessment(wav, rate)[0].item()
    nisqa._load_nisqa_model.cache_clear()
    assert value_of("NISQA", tmp_path / "nisqa.tar") == pytest.approx(expected, abs=1e-4)
    long = np.tile(inf, 3)
    with pytest.raises(MetricFailed, match="Maximum number"):
        METRICS["NISQA"].compute(long, None, fs, context("NISQA", tmp_path / "nisqa.tar"))


def test_scoreq_runs_the_onnx_network_on_padded_16k(tmp_path):
    pytest.importorskip("onnxruntime", reason="extra 'scoring' is not installed")
    pytest.importorskip("onnx", reason="onnx, which writes the test's network, is not installed")
    from torchaudio.functional import resample

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Conv1d(1, 4, 400, stride=320)
            self.head = torch.nn.Linear(4, 1)

        def forward(self, wav):
            return self.head(self.encoder(wav[:, None]).abs().mean(dim=2))

    torch.manual_seed(0)
    net, file = Net().eval(), tmp_path / "adapt_nr_telephone.onnx"
    names = {"input_names": ["wav"], "output_names": ["mos"]}
    torch.onnx.export(
        net,
        (torch.zeros(1, 16000),),
        file,
        dynamo=False,
        dynamic_axes={"wav": {1: "time"}},
        **names,
    )
    inf, _, fs = pair("goforward-8k")
    wav = resample(torch.tensor(inf), fs, 16000)
    padded = torch.nn.functional.pad(wav, (0, -len(wav) % 320))
    with torch.no_grad():
        expected = net(padded[None]).item()
    assert value_of("SCOREQ", file) == pytest.approx(expected, abs=1e-5)


def test_utmos_runs_the_checkout_at_the_files_own_rate(tmp_path):
    (tmp_path / "hubconf.py").write_text(
        "import torch\n\ndependencies = ['torch']\n\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, wave, sr):\n"
        "        return wave.square().mean(dim=1).sqrt() + sr\n\n"
        "def utmos22_strong():\n    return Net()\n"
    )
    inf, _, fs = pair("goforward-8k")
    expected = fs + np.sqrt(np.mean(inf.astype(np.float64) ** 2))
    assert value_of("UTMOS", tmp_path) == pytest.approx(expected, rel=1e-6)


def espnet_pack(folder, task, options, config_key, file_key):
    """A random model of an ESPnet task, packed as the published ones are."""
    task.main(cmd=["--dry_run", "true", "--output_dir", str(folder / "exp"), *options])
    torch.manual_seed(0)
    model, _ = task.build_model_from_file(folder / "exp" / "config.yaml")
    torch.save(model.state_dict(), folder / "exp" / "model.pth")
    meta = {"yaml_files": {config_key: "exp/config.yaml"}, "files": {file_key: "exp/model.pth"}}
    (folder / "meta.yaml").write_text(yaml.safe_dump(meta))
    return model.eval()


@pytest.mark.slow
def test_speaker_similarity_is_the_cosine_of_rawnet3(tmp_path):
    pytest.importorskip("asteroid_filterbanks", reason="extra 'official' is not installed")
    from espnet2.tasks.spk import SpeakerTask

    options = [
        "--frontend", "asteroid_frontend", "--frontend_conf", "sinc_filters=16",
        "--encoder", "rawnet3", "--encoder_conf", "model_scale=4", "--encoder_conf", "ndim=16",
        "--encoder_conf", "output_size=24", "--pooling", "chn_attn_stat", "--projector", "rawnet3",
        "--projector_conf", "output_size=8", "--loss", "aamsoftmax", "--spk_num", "3",
    ]  # fmt: skip
    model = espnet_pack(tmp_path, SpeakerTask, options, "train_config", "model_file")
    with torch.no_grad():
        mine, clean = (
            model(torch.tensor(wav)[None], extract_embd=True)[0] for wav in at_16k("goforward-8k")
        )
    expected = torch.cosine_similarity(mine, clean, dim=0).item()
    assert value_of("SpkSim", tmp_path) == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def owsm(tmp_path_factory):
    """A tiny OWSM: a recogniser with a decoder, language and task symbols."""
    from espnet2.tasks.s2t import S2TTask

    folder = tmp_path_factory.mktemp("owsm")
    tokens = ["<blank>", "<unk>", "<na>", "<nospeech>", "<eng>", "<fra>", "<asr>"]
    tokens += ["<notimestamps>", "<0.00>", "<30.00>", *"aeiost", "<sos>", "<eos>", "<sop>"]
    (folder / "tokens.txt").write_text("\n".join(tokens) + "\n")
    options = [
        "--token_list", str(folder / "tokens.txt"), "--token_type", "char",
        "--encoder", "rnn", "--encoder_conf", "num_layers=1", "--encoder_conf", "hidden_size=4",
        "--encoder_conf", "output_size=4", "--encoder_conf", "subsample=[8,1]",
        "--decoder", "rnn", "--decoder_conf", "hidden_size=4",
        "--preprocessor_conf", "notime_symbol='<notimestamps>'",
        "--preprocessor_conf", "first_time_symbol='<0.00>'",
        "--preprocessor_conf", "last_time_symbol='<30.00>'",
        "--preprocessor_conf", "fs=16000", "--preprocessor_conf", "speech_length=30",
    ]  # fmt: skip
    espnet_pack(folder, S2TTask, options, "s2t_train_config", "s2t_model_file")
    return folder


@pytest.mark.slow
def test_character_accuracy_of_owsm_counts_what_it_hears(owsm):
    import jiwer

    known = context("CAcc", owsm, text="Tosi, è!", lang="en")
    inf, ref, fs = pair("goforward-8k")
    value = METRICS["CAcc"].compute(inf, ref, fs, known)
    heard = known.notes["heard (OWSM)"]
    assert value == pytest.approx(1 - jiwer.cer("tosi è", heard))
    assert known.weights["CAcc"] == 6
    with pytest.raises(MetricFailed, match="--text"):
        METRICS["CAcc"].compute(inf, ref, fs, context("CAcc", owsm))


@pytest.mark.slow
def test_owsm_is_asked_as_the_challenge_asks_it(owsm):
    """An empty previous text is no `<na>`: the decoder starts from other symbols."""
    inf, ref, fs = pair("goforward-8k")
    known = context("CAcc", owsm, text="tosi", lang="en")
    METRICS["CAcc"].compute(inf, ref, fs, known)
    model = METRICS["CAcc"].model(known.setup)
    wav = at_16k("goforward-8k")[0]
    padded = np.pad(wav, (0, 30 * 16000 - wav.size))
    model.maxlenratio = -(wav.size // 1600)
    symbols = {"lang_sym": "<eng>", "task_sym": "<asr>"}
    assert known.notes["heard (OWSM)"] == normalise(model(padded, "", **symbols)[0][-2])
    primed = model.beam_search.hyp_primer
    model(padded, "<na>", **symbols)
    assert model.beam_search.hyp_primer != primed


@pytest.mark.slow
def test_owsm_hears_the_first_window_where_long_decoding_fails(owsm, monkeypatch):
    inf, _, fs = pair("goforward-8k")
    known = context("CAcc", owsm, text="tosi", lang="en")
    model = METRICS["CAcc"].model(known.setup)

    def fails(*given, **options):
        assert options["init_text"] == "" and options["condition_on_prev_text"] is False
        raise AssertionError("no time stamp")

    monkeypatch.setattr(model, "decode_long", fails)
    monkeypatch.setattr(character_accuracy, "WINDOW_S", 2)  # with its 30 s this takes a minute
    METRICS["CAcc"].compute(inf, None, fs, known)
    assert known.notes["OWSM"] == "only the first 2 s: AssertionError"
    wav = known.at_16k(inf, fs)
    assert wav.size > 2 * 16000
    model.maxlenratio = -(wav.size // 1600)
    heard = model(wav[: 2 * 16000], "", lang_sym="<eng>", task_sym="<asr>")[0][-2]
    assert known.notes["heard (OWSM)"] == normalise(heard)


def test_a_packed_models_own_files_are_found_and_the_download_stays_as_it_was(tmp_path):
    from espnet_hybridse.scoring.metrics.espnet_models import load_packed

    (tmp_path / "exp/bpe").mkdir(parents=True)
    (tmp_path / "exp/bpe/bpe.model").write_text("x")
    config = {"bpemodel": "exp/bpe/bpe.model", "token_list": ["exp", "/", "a/b"], "beam": 5}
    written = yaml.safe_dump(config)
    (tmp_path / "exp/config.yaml").write_text(written)
    meta = {"yaml_files": {"train_config": "exp/config.yaml"}, "files": {"model_file": "m.pth"}}
    (tmp_path / "meta.yaml").write_text(yaml.safe_dump(meta))

    def read(train_config, model_file, device):
        return yaml.safe_load(open(train_config)), model_file, device

    got, model_file, device = load_packed(read, tmp_path, device="cpu")
    assert got == {**config, "bpemodel": str(tmp_path / "exp/bpe/bpe.model")}
    assert (model_file, device) == (str(tmp_path / "m.pth"), "cpu")
    assert (tmp_path / "exp/config.yaml").read_text() == written


@pytest.mark.parametrize("column", [n for n, m in METRICS.items() if m.model_id])
def test_missing_weights_leave_the_column_out_with_the_command(column, tmp_path, monkeypatch):
    metric = METRICS[column]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    reason = metric.available()
    assert "run: " in reason
    if "is not installed" not in reason:
        assert any(w in reason for w in ("hf download", "curl ", "torch.hub.load")), reason
        assert metric.available(Setup(models={metric.key: str(tmp_path / "none")}))


def test_models_are_named_by_key_and_kept_in_the_rows(tmp_path):
    assert check_keys({"lps": "x"}) == {"LPS": "x"}
    with pytest.raises(ValueError, match="--models PESQ=…: expected one of NISQA, UTMOS"):
        check_keys({"PESQ": "x"})
    from espnet_hybridse.fileio.audio import write_audio
    from espnet_hybridse.fileio.lists import write_list

    inf, ref, fs = pair("goforward-8k")
    for name, wav in (("inf", inf), ("ref", ref)):
        write_audio(tmp_path / f"{name}.wav", wav, fs)
        write_list(tmp_path / f"{name}.scp", {"u": tmp_path / f"{name}.wav"})
    for rate in (1, 2):
        folder = tmp_path / f"hub{rate}"
        folder.mkdir()
        (folder / "hubconf.py").write_text(
            "import torch\nclass Net(torch.nn.Module):\n    def forward(self, wave, sr):\n"
            f"        return torch.tensor([{rate}.0])\ndef utmos22_strong():\n    return Net()\n"
        )
        sys.modules.pop("hubconf", None)
        lists = (tmp_path / "ref.scp", tmp_path / "inf.scp", tmp_path / "out", ["UTMOS", "LSD"])
        assert score(*lists, nj=0, models={"UTMOS": str(folder)}).scored == 1
        assert score(*lists, nj=0, models={"UTMOS": str(folder)}).scored == 0
        row = json.loads((tmp_path / "out" / "scores.jsonl").read_text())
        assert row["scores"]["UTMOS"] == rate and row["models"]["UTMOS"] == str(folder)
