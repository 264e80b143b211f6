"""Enhancing starts in little more than the time of `import torch`: what it must not import."""

import subprocess
import sys

import pytest

HEAVY = (
    "espnet2.tasks",
    "espnet2.train",
    "transformers",
    "s3prl",
    "librosa",
    "scipy",
    "sklearn",
    "matplotlib",
    "torchaudio",
    "torch._dynamo",
    "torch._inductor",
    "torch.onnx",
)
ENHANCE = """
import numpy as np
from espnet_hybridse import Enhancer
wav = 0.1 * np.random.default_rng(0).normal(size=8000).astype("float32")
assert Enhancer.from_pretrained()(wav, 16000).shape == wav.shape
"""
DOCTOR = """
from espnet_hybridse.cli.main import main
assert main(["doctor"]) == 0
"""
HELP = """
from espnet_hybridse.cli.main import build_parser
build_parser().format_help()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code, heavy",
    [(ENHANCE, HEAVY), (DOCTOR, tuple(set(HEAVY) - {"torchaudio"})), (HELP, ("torch", "numpy"))],
    ids=["enhance", "doctor", "help"],
)
def test_nothing_heavy_is_imported(code, heavy):
    # A fresh interpreter: this one has imported all of it.
    code += f"\nimport sys\nprint('HEAVY', sorted(sys.modules.keys() & set({heavy!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
