"""NISQA v2.0 (Mittag et al., 2021): overall quality without a reference."""

from pathlib import Path

import soxr

from espnet_hybridse.scoring.metrics.hub_weights import FileMetric
from espnet_hybridse.scoring.metrics.metric import MetricFailed


class Nisqa(FileMetric):
    """The overall MOS, through torchmetrics' copy of the network.

    The published weights leave the rate open (`ms_sr` is null in their settings), and the
    challenge's scripts give each file at its own. Weights that name a rate have it.
    """

    key = name = "NISQA"
    category = "non-intrusive"
    official = True
    range = (1.0, 5.0)
    model_id = "NISQA v2.0"
    source = "nisqa.tar (v2.0), torchmetrics"
    extra = "official"
    modules = ("torchmetrics", "librosa")
    path = Path("~/.torchmetrics/NISQA/nisqa.tar")  # where torchmetrics keeps it
    fetch = (
        "curl --create-dirs -Lo ~/.torchmetrics/NISQA/nisqa.tar "
        "https://github.com/gabrielmittag/NISQA/raw/refs/heads/master/weights/nisqa.tar"
    )

    def load(self, weights, device):
        import torch
        from torchmetrics.functional.audio.nisqa import _NISQADIM

        checkpoint = torch.load(weights, map_location="cpu", weights_only=True)
        model = _NISQADIM(checkpoint["args"])
        model.load_state_dict(checkpoint["model_state_dict"])
        # torchmetrics builds its masks on the CPU.
        return model.eval(), checkpoint["args"]

    def compute(self, inf, ref, fs, context):
        import torch
        from torchmetrics.functional.audio.nisqa import _get_librosa_melspec, _segment_specs

        model, args = self.model(context.setup)
        target = args.get("ms_sr") or fs
        wav = inf if fs == target else soxr.resample(inf, fs, target)
        spectrum = torch.from_numpy(_get_librosa_melspec(wav[None], target, args))
        try:
            windows, count = _segment_specs(spectrum, args)
        except RuntimeError as error:  # shorter than one window, or longer than it was made for
            raise MetricFailed(f"{error} ({inf.size / fs:.1f} s)") from error
        # Windows beyond `count` are padding, which the network masks: leaving it out is faster.
        windows = windows[:, : int(count)]
        with torch.inference_mode():
            return float(model(windows, count.expand(1))[0, 0])
