"""SCOREQ (Ragano et al., 2024): quality of natural speech without a reference."""

from pathlib import Path

import numpy as np

from espnet_hybridse.scoring.metrics.hub_weights import FileMetric

MULTIPLE = 320
"""Zeros are added to a multiple of the encoder's stride, as the scoreq package does."""


class Scoreq(FileMetric):
    """The published ONNX network for natural speech, `adapt_nr_telephone`.

    The scoreq package reads files through torchaudio.load, which newer torchaudio gives up; its
    other steps are kept: torchaudio's resampling and the padding.
    """

    key = name = "SCOREQ"
    category = "non-intrusive"
    official = True
    rate = "16 kHz"
    range = (1.0, 5.0)
    model_id = "SCOREQ adapt_nr_telephone"
    source = "SCOREQ natural speech, no reference, ONNX"
    modules = ("onnxruntime",)
    path = Path("~/.cache/scoreq/onnx-models/adapt_nr_telephone.onnx")  # where scoreq keeps it
    fetch = (
        "curl --create-dirs -Lo ~/.cache/scoreq/onnx-models/adapt_nr_telephone.onnx "
        "https://zenodo.org/records/15739280/files/adapt_nr_telephone.onnx"
    )

    def load(self, weights, device):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        providers = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            providers.insert(0, "CUDAExecutionProvider")
        else:
            options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(str(weights), options, providers=providers)

    def compute(self, inf, ref, fs, context):
        import torch
        from torchaudio.functional import resample

        wav = resample(torch.from_numpy(inf), fs, 16000).numpy()
        wav = np.pad(wav, (0, -wav.size % MULTIPLE))
        session = self.model(context.setup)
        name = session.get_inputs()[0].name
        return float(np.squeeze(session.run(None, {name: wav[None]})[0]))
