"""Levenshtein phoneme similarity (Pirklbauer et al., 2023): are the same phonemes heard?"""

import json
from itertools import groupby

from espnet_hybridse.scoring.metrics.hub_weights import TRANSFORMERS_FILES, HubMetric
from espnet_hybridse.scoring.metrics.metric import MetricFailed


class PhonemeSimilarity(HubMetric):
    """1 - edits / phoneme letters of the clean file; negative when more is heard than was said.

    The phonemes come from a recogniser of the eSpeak alphabet. Its tokenizer wants eSpeak NG at
    loading although only texts are turned into phonemes by it: the vocabulary is read directly.
    """

    key = "LPS"
    name = "LPS"
    category = "task-independent"
    official = True
    needs_reference = True
    rate = "16 kHz"
    range = (-float("inf"), 1.0)
    model_id = "facebook/wav2vec2-lv-60-espeak-cv-ft"
    source = "wav2vec2-lv-60-espeak-cv-ft, greedy"
    modules = ("transformers", "rapidfuzz")
    files = (*TRANSFORMERS_FILES, "vocab.json", "preprocessor_config.json")

    def load(self, weights, device):
        from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

        vocabulary = json.loads((weights / "vocab.json").read_text(encoding="utf-8"))
        symbols = {index: symbol for symbol, index in vocabulary.items()}
        model = Wav2Vec2ForCTC.from_pretrained(weights).to(device).eval()
        return model, Wav2Vec2FeatureExtractor.from_pretrained(weights), symbols

    def compute(self, inf, ref, fs, context):
        from rapidfuzz.distance import Levenshtein

        heard, said = self.phonemes([context.at_16k(wav, fs) for wav in (inf, ref)], context.setup)
        context.notes["phonemes"] = heard
        if not said:
            raise MetricFailed("no phoneme is heard in the clean file")
        return 1.0 - Levenshtein.distance(heard, said) / len(said)

    def phonemes(self, waves, setup) -> list[str]:
        """(T,) at 16 kHz, all of one length -> the letters of each file's phonemes."""
        import torch

        model, extract, symbols = self.model(setup)
        inputs = extract(waves, sampling_rate=16000, return_tensors="pt").input_values
        with torch.inference_mode():
            best = model(inputs.to(setup.device)).logits.argmax(-1).tolist()
        blank = model.config.pad_token_id
        # Like the published decoding: repeats are one, only the blank and spaces are left out.
        texts = ("".join(symbols[i] for i, _ in groupby(row) if i != blank) for row in best)
        return [text.replace(" ", "") for text in texts]
