"""UTMOS22 strong (Saeki et al., 2022): naturalness without a reference."""

from pathlib import Path

from espnet_hybridse.fileio.assets import AssetMissing
from espnet_hybridse.scoring.metrics.hub_weights import ModelMetric

REPOSITORY = "tarepan/SpeechMOS:v1.2.0"
ENTRY = "utmos22_strong"
CHECKPOINT = "utmos22_strong_step7459_v1.pt"


class Utmos(ModelMetric):
    """SpeechMOS v1.2.0 through torch.hub, as the challenge loads it; it resamples by itself.

    A folder named with `--models UTMOS=DIR` is a checkout of that repository: torch.hub runs its
    `hubconf.py`.
    """

    key = name = "UTMOS"
    category = "non-intrusive"
    official = True
    rate = "16 kHz"
    range = (1.0, 5.0)
    model_id = REPOSITORY
    source = "SpeechMOS v1.2.0, utmos22_strong"

    def weights(self, setup):
        import torch

        hub = Path(torch.hub.get_dir())
        folder = Path(
            setup.models.get(self.key, hub / REPOSITORY.replace("/", "_").replace(":", "_"))
        )
        needed = [folder / "hubconf.py"]
        if self.key not in setup.models:
            needed.append(hub / "checkpoints" / CHECKPOINT)
        for path in needed:
            if not path.is_file():
                raise AssetMissing(
                    f'no {path} (--models UTMOS=DIR takes a checkout); run: python -c "import '
                    f"torch; torch.hub.load('{REPOSITORY}', '{ENTRY}', trust_repo=True)\""
                )
        return folder

    def load(self, weights, device):
        import torch

        return torch.hub.load(str(weights), ENTRY, source="local").to(device).eval()

    def compute(self, inf, ref, fs, context):
        import torch

        wav = torch.from_numpy(inf)[None].to(context.setup.device)
        with torch.inference_mode():
            return float(self.model(context.setup)(wav, fs))
