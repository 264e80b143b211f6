"""Speaker similarity with the challenge's RawNet3."""

import numpy as np

from espnet_hybridse.scoring.metrics.espnet_models import EspnetMetric, load_packed


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
