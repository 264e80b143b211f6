"""What works on this machine and what is missing: the findings that `hybridse doctor` prints."""

import importlib
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from espnet_hybridse.runtime.version import __version__

CODECS = {"MP3": "MPEG_LAYER_III", "OGG": "VORBIS", "Ogg": "OPUS", "FLAC": "PCM_16"}
ENCODERS = {"libmp3lame", "libopus"}
XCODEC_ID = "hf-audio/xcodec-wavlm-more-data"
SHARED = Path("/dev/shm")
LEAST_SHARED = 10**9
SHARED_FIX = "docker run --shm-size 8g …, or num_workers: 0 in the training configuration"
SLOW = ("transformers", "s3prl")
"""Imported by `--full` alone: pure Python, and not needed by the models that come along."""
HUB_FILES = ("model.safetensors", "pytorch_model.bin", "model.pt")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        section: heading under which it stands.
        name: what was looked for.
        ok: whether it works.
        detail: version, path or reason.
        fix: the one line that installs or repairs it; empty when `ok`.
        core: without it nothing runs.
    """

    section: str
    name: str
    ok: bool
    detail: str
    fix: str = ""
    core: bool = False


def examine(full: bool = False) -> Iterator[Finding]:
    """Yield all findings, in the order of the report. Reads only this machine, never the network.

    Args:
        full: import what only training and other encoders need, too, which takes ten times as long.
    """
    yield from machine()
    yield from packages(full)
    yield from plugin(full)
    yield from metrics()
    yield from offline_weights()
    yield from hub_weights()


def machine() -> Iterator[Finding]:
    """Interpreter, processor and accelerator."""
    version = platform.python_version()
    yield Finding("machine", "python", True, f"{version} on {platform.platform()}", core=True)
    yield Finding("machine", "cpu", True, f"{os.cpu_count()} cores")
    try:
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except Exception:  # a broken torch is reported under packages
        gpus = []
    yield Finding("machine", "gpu", True, ", ".join(gpus) or "none, everything runs on the cpu")
    yield shared_memory()


def shared_memory(place: Path = SHARED) -> Finding:
    """Tell whether loader workers can hand their batches over: containers give 64 MB."""
    try:
        size = shutil.disk_usage(place).total
    except OSError:
        return Finding("machine", "shared memory", True, f"no {place}, not needed here")
    detail = f"{size / 1e9:.2f} GB at {place}"
    if size < LEAST_SHARED:
        detail += ", too little for the loader workers of training"
        return Finding("machine", "shared memory", False, detail, SHARED_FIX)
    return Finding("machine", "shared memory", True, detail)


def packages(full: bool = False) -> Iterator[Finding]:
    """Yield versions of what the package stands on; imported, since installed is not working."""
    yield Finding("packages", "espnet_hybridse", True, __version__, core=True)
    for module, dist, core in (
        ("espnet2", "espnet", True),
        ("torch", "torch", True),
        ("torchaudio", "torchaudio", True),
        ("transformers", "transformers", True),
        ("soundfile", "soundfile", True),
        ("soxr", "soxr", True),
        ("av", "av", True),
        ("s3prl", "espnet-s3prl", False),
        ("onnxruntime", "onnxruntime", False),
    ):
        yield package(module, dist, core, full or module not in SLOW)
    # Its import would set torch's number of threads; the gate reads the weights alone.
    yield package("silero_vad", "silero-vad", core=True, run=False)
    yield codecs()
    yield encoders()


def package(module: str, dist: str, core: bool, run: bool = True) -> Finding:
    """Tell whether `module`, which the distribution `dist` installs, is there and, if to `run`,
    can be imported."""
    try:
        if run:
            importlib.import_module(module)
        elif importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    except ModuleNotFoundError as error:
        if error.name == module:
            return Finding("packages", dist, False, "not installed", pip_line(dist), core)
        detail = f"needs the module {error.name!r}"
        return Finding("packages", dist, False, detail, f"{pip_line(dist)} {error.name}", core)
    except Exception as error:  # a wrong shared library raises OSError, RuntimeError and others
        detail = f"installed but broken: {type(error).__name__}: {first_line(error)}"
        fix = pip_line(dist).replace("install", "install --force-reinstall")
        return Finding("packages", dist, False, detail, fix, core)
    return Finding("packages", dist, True, installed_version(dist), core=core)


def codecs() -> Finding:
    """Whether libsndfile writes the formats that simulation and submission need."""
    try:
        import soundfile
    except Exception:
        fix = pip_line("soundfile")
        return Finding("packages", "libsndfile", False, "soundfile missing", fix, True)
    formats = soundfile.available_formats()
    missing = [
        f"{container} {subtype}"
        for container, subtype in CODECS.items()
        if container.upper() not in formats
        or subtype not in soundfile.available_subtypes(container.upper())
    ]
    version = soundfile.__libsndfile_version__
    if missing:
        detail = f"{version} without {', '.join(missing)}; 1.2 or newer has them"
        return Finding("packages", "libsndfile", False, detail, pip_line("soundfile"), True)
    return Finding("packages", "libsndfile", True, f"{version} with mp3, vorbis, opus, flac")


def encoders() -> Finding:
    """Whether PyAV has the encoders that the simulation takes from it."""
    try:
        import av
    except Exception:
        return Finding("packages", "encoders", False, "av missing", pip_line("av"), True)
    missing = ", ".join(sorted(ENCODERS - set(av.codecs_available)))
    if missing:
        fix = "pip install --force-reinstall --only-binary av av"  # a build against another ffmpeg
        return Finding("packages", "encoders", False, f"av without {missing}", fix, True)
    return Finding("packages", "encoders", True, ", ".join(sorted(ENCODERS)), core=True)


def plugin(full: bool = False) -> Iterator[Finding]:
    """Yield the names of the package, table by table: networks are imported; if `full`, all are
    registered in ESPnet."""
    try:
        tables = importlib.import_module("espnet_hybridse.plugin")
        networks = [tables.find_class("separator", name) for name in tables.SEPARATORS]
        if full:
            tables.register()
    except Exception as error:
        detail = f"{type(error).__name__}: {first_line(error)}"
        fix = "pip install --force-reinstall espnet_hybridse"
        yield Finding("plugin", "register", False, detail, fix, core=True)
        return
    for kind in ("separator", "criterion", "preprocessor"):
        detail = ", ".join(tables.TABLES[kind])
        yield Finding("plugin", kind, bool(networks), detail, core=True)


def metrics() -> Iterator[Finding]:
    """Which columns of the results table can be computed here."""
    try:
        from espnet_hybridse.scoring.metrics.registry import METRICS
    except Exception as error:
        fix = pip_line("espnet_hybridse[scoring]")
        yield Finding("metrics", "registry", False, first_line(error), fix)
        return
    for name, metric in METRICS.items():
        yield split_reason("metrics", name, metric.available(), metric.source)


def offline_weights() -> Iterator[Finding]:
    """Pretrained weights that travel inside wheels, with their sha256 checked."""
    from espnet_hybridse.fileio import assets

    checks: dict[str, Callable] = {
        "whisper tiny.en": assets.whisper_tiny_en_encoder,
        "whisper base": assets.whisper_base_dir,
        "silero vad": assets.silero_vad_weights,
        "dnsmos": assets.dnsmos_model,
        "plcmos": assets.plcmos_model,
        "resemblyzer": assets.resemblyzer_weights,
    }
    for name, check in checks.items():
        try:
            reason, path = None, str(check())
        except (assets.AssetMissing, assets.AssetCorrupt, OSError) as error:
            reason, path = str(error), ""
        yield split_reason("offline weights", name, reason, path)


def hub_weights() -> Iterator[Finding]:
    """Weights with public ids: whether the local Hugging Face cache holds them."""
    for name, model_id in (
        ("WavLM (semantic encoder)", "microsoft/wavlm-base-plus"),
        ("X-Codec (tokens)", XCODEC_ID),
        ("Uni-VERSA-Ext (SQA loss)", "vvwangvv/universa-ext_wavlm-base_5metric"),
    ):
        path = cached_weights(model_id)
        detail = path or f"{model_id} is not in the cache"
        fix = "" if path else f"hf download {model_id}"
        yield Finding("hub weights", name, bool(path), detail, fix)


def cached_weights(model_id: str) -> str | None:
    """Path of the cached weight file of a Hugging Face id, or None. No network."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for name in HUB_FILES:
        path = try_to_load_from_cache(model_id, name)
        if isinstance(path, str):
            return path
    return None


def split_reason(section: str, name: str, reason: str | None, detail: str) -> Finding:
    """A finding from "reason; run: line that installs it" or, when None, from `detail`."""
    if reason is None:
        return Finding(section, name, True, detail)
    for marker in ("; run: ", "; reinstall: "):
        text, found, fix = reason.partition(marker)
        if found:
            return Finding(section, name, False, text, fix)
    return Finding(section, name, False, reason)


def pip_line(dist: str) -> str:
    """The pip command for a distribution, with the version range this package declares."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        declared = [Requirement(line) for line in metadata.requires("espnet_hybridse") or []]
    except metadata.PackageNotFoundError:
        declared = []
    for requirement in declared:
        marker = requirement.marker
        extra = {"extra": "scoring"}
        if canonicalize_name(requirement.name) == canonicalize_name(dist):
            if marker is None or marker.evaluate(extra):
                return f"pip install '{requirement.name}{requirement.specifier}'"
    return f"pip install '{dist}'"


def installed_version(dist: str) -> str:
    """Version of an installed distribution."""
    try:
        return metadata.version(dist)
    except metadata.PackageNotFoundError:
        return "unknown version"


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
