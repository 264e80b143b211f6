"""SpeechBERTScore (Saeki et al., 2024): do both files say the same, to a speech encoder?"""

from espnet_hybridse.scoring.metrics.hub_weights import HubMetric

LAYER = 8


class SpeechBertScore(HubMetric):
    """Precision: mean over the enhanced frames of the cosine with the nearest clean frame."""

    key = name = "SpeechBERTScore"
    category = "task-independent"
    official = True
    needs_reference = True
    rate = "16 kHz"
    range = (-1.0, 1.0)
    model_id = "utter-project/mHuBERT-147"
    source = f"mHuBERT-147, layer {LAYER}, precision"
    modules = ("transformers",)

    def load(self, weights, device):
        from transformers import HubertModel

        model = HubertModel.from_pretrained(weights).to(device).eval()
        # Only the first layers are asked for.
        del model.encoder.layers[LAYER:]
        return model

    def compute(self, inf, ref, fs, context):
        import torch

        model = self.model(context.setup)
        # Both have one length, so one batch gives each the values it would have alone.
        waves = torch.stack([torch.from_numpy(context.at_16k(w, fs)) for w in (inf, ref)])
        with torch.inference_mode():
            hidden = model(waves.to(context.setup.device), output_hidden_states=True).hidden_states
        mine, clean = torch.nn.functional.normalize(hidden[LAYER].float(), dim=-1)
        return float((mine @ clean.T).max(dim=1).values.mean())
