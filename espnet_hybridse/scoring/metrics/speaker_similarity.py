"""Speaker similarity with the challenge's RawNet3, and with Resemblyzer, its stand-in."""

import warnings
from functools import cached_property

import numpy as np

from espnet_hybridse.fileio.assets import RESEMBLYZER, resemblyzer_weights
from espnet_hybridse.scoring.metrics.espnet_models import EspnetMetric, load_packed
from espnet_hybridse.scoring.metrics.metric import Metric, MetricFailed


class SpkSim(EspnetMetric):
    """Cosine between the speaker embeddings of the enhanced and the clean file."""

    key = name = "SpkSim"
    category = "task-dependent"
    official = True
    needs_reference = True
    rate = "16 kHz"
    range = (-1.0, 1.0)
    model_id = "espnet/voxcelebs12_rawnet3"
    source = "espnet/voxcelebs12_rawnet3"
    extra = "official"
    modules = (*EspnetMetric.modules, "asteroid_filterbanks")

    def load(self, weights, device):
        from espnet2.bin.spk_inference import Speech2Embedding

        return load_packed(Speech2Embedding, weights, device=device)

    def compute(self, inf, ref, fs, context):
        embed = self.model(context.setup)
        mine, clean = (embed(context.at_16k(w, fs)).double().cpu().numpy()[0] for w in (inf, ref))
        return float(mine @ clean / np.linalg.norm(mine) / np.linalg.norm(clean))


class SpkSimResemblyzer(Metric):
    """Cosine between the speaker embeddings of the enhanced and the clean file.

    Resemblyzer's embeddings are non-negative: two strangers score well above 0, so differences
    count more than the level. Its trimming of silences is left out: on a noisy file it would keep
    other parts than on the clean one.
    """

    key = "SpkSim_Resemblyzer"
    name = "SpkSim(Resemblyzer)"
    category = "task-dependent"
    needs_reference = True
    rate = "16 kHz"
    range = (0.0, 1.0)
    source = "resemblyzer 0.1.4"
    modules = ("resemblyzer", "webrtcvad", "librosa")
    stands_for = "SpkSim"

    @property
    def install(self):
        return f"{super().install} && {RESEMBLYZER}"

    def check_assets(self, setup):
        resemblyzer_weights()

    @cached_property
    def encoder(self):
        import torch

        torch.set_num_threads(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from resemblyzer import VoiceEncoder
        return VoiceEncoder("cpu", verbose=False, weights_fpath=resemblyzer_weights())

    def compute(self, inf, ref, fs, context):
        return float(self.embed(inf, fs, context) @ self.embed(ref, fs, context))

    def embed(self, wav: np.ndarray, fs: int, context) -> np.ndarray:
        """(T,) -> (256,), of length 1."""
        from resemblyzer import normalize_volume
        from resemblyzer.hparams import audio_norm_target_dBFS

        wav = normalize_volume(context.at_16k(wav, fs), audio_norm_target_dBFS, increase_only=True)
        embedding = self.encoder.embed_utterance(wav)
        if not np.isfinite(embedding).all():
            raise MetricFailed("the speaker embedding is empty")
        return embedding
