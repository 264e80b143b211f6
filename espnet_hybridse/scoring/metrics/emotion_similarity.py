"""Emotion similarity with the challenge's emotion2vec."""

import numpy as np

from espnet_hybridse.scoring.metrics.hub_weights import HubMetric

CHECKPOINT = "emotion2vec_base.pt"


class EmoSim(HubMetric):
    """Cosine between the emotion2vec embeddings of the enhanced and the clean file.

    Through the package that the challenge's script uses; no registry has it.
    """

    key = name = "EmoSim"
    category = "task-dependent"
    official = True
    needs_reference = True
    rate = "16 kHz"
    range = (-1.0, 1.0)
    model_id = "emotion2vec/emotion2vec_base"
    source = "emotion2vec_base"
    files = (CHECKPOINT,)
    modules = ("emo2vec_versa",)

    @property
    def install(self):
        return "git clone https://github.com/ftshijt/emotion2vec && pip install ./emotion2vec"

    def load(self, weights, device):
        from emo2vec_versa.emo2vec_class import EMO2VEC

        return EMO2VEC(str(weights / CHECKPOINT), use_gpu=device.startswith("cuda"))

    def compute(self, inf, ref, fs, context):
        extract = self.model(context.setup).extract_feature
        mine, clean = (np.ravel(extract(context.at_16k(w, fs), fs=16000)) for w in (inf, ref))
        return float(mine @ clean / np.linalg.norm(mine) / np.linalg.norm(clean))
