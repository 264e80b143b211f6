"""What a machine does a second: measured by `--calibrate`, or derived from published figures."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from espnet_hybridse.config import ConfigError
from espnet_hybridse.lists import write_json
from espnet_hybridse.plan.network import Counts

FORMAT = 1
STORED = Path(__file__).with_name("stored.json")
"""Measured at the paper's size, see its `machine` and `notes`: --machine takes from it the memory
of activations and the rates of a processor core where no --calibration is given."""
MEASURED, DERIVED = "measured", "derived"


@dataclass(frozen=True)
class PartRates:
    """One network on one machine.

    Attributes:
        counts: of the network that was measured.
        train_gmac_s: work of a training step, 10**9 multiply-accumulates, by its seconds; a step is
            three times the forward pass, a frozen encoder's forward pass counted once.
        overhead_s: of a step, however small.
        infer_gmac_s: forward passes without gradient; a generative branch decodes.
        activation_mb, activation_mb_per_gmac: peak of forward and backward pass above weights and
            gradients: a constant, and by the forward pass's multiply-accumulates of the step.
        precision: in which it was measured.
        note: what of it was not measured, and where it is from then.
    """

    counts: Counts
    train_gmac_s: float
    overhead_s: float
    infer_gmac_s: float
    activation_mb: float
    activation_mb_per_gmac: float
    precision: str = "float32"
    note: str = ""


@dataclass(frozen=True)
class Calibration:
    """Rates of a machine.

    Attributes:
        kind: MEASURED or DERIVED.
        machine: what it was measured on: bench.machine.describe.
        device: "cuda" or "cpu".
        cores: processor cores a device (GPU; where there is none, the machine) that feed it.
        parts: disc, gen, fusion -> PartRates.
        audio_s_core_s: stage (simulate, check, score) -> seconds of audio a core does in a second.
        read_gb_s: memory speed that bounds token decoding, where infer_gmac_s was not measured.
        memory_gb: of a GPU; None on a processor.
        notes: what the reader must know.
    """

    kind: str
    machine: Mapping[str, Any]
    device: str
    cores: int
    parts: Mapping[str, PartRates]
    audio_s_core_s: Mapping[str, float]
    read_gb_s: Optional[float] = None
    memory_gb: Optional[float] = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        values = asdict(self)
        for name, part in self.parts.items():
            values["parts"][name]["counts"] = part.counts.as_dict()
        write_json(path, {"format": FORMAT, **values})


def load(path: Path) -> Calibration:
    """What :meth:`Calibration.save` wrote.

    Raises:
        ConfigError: no such file, or it is no calibration.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such calibration; make it with --calibrate")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise KeyError("format")
        for part in values["parts"].values():
            part["counts"] = Counts.from_dict(part["counts"])
        parts = {name: PartRates(**part) for name, part in values.pop("parts").items()}
        return Calibration(parts=parts, **values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: no calibration of this version ({error}); make it again with --calibrate"
        ) from error


@dataclass(frozen=True)
class Published:
    """Published figures of a GPU and of the machine around it.

    Attributes:
        tflops: precision -> peak, dense, in 10**12 operations a second (a multiply-accumulate is
            two).
        memory_gb_s: of its memory.
        memory_gb: its size.
        per_node: GPUs of one machine.
        link_gb_s: between two GPUs of a machine, one way.
        net_gb_s: between machines, for each GPU, one way.
        cores: processor cores a GPU.
    """

    name: str
    tflops: Mapping[str, float]
    memory_gb_s: float
    memory_gb: float
    per_node: int
    link_gb_s: float
    net_gb_s: float
    cores: int
    source: str


PUBLISHED: Dict[str, Published] = {
    "h100": Published(
        name="NVIDIA H100 SXM 80 GB",
        tflops={"bfloat16": 989.0, "float32": 67.0},
        memory_gb_s=3350.0,
        memory_gb=80.0,
        per_node=8,
        link_gb_s=450.0,
        net_gb_s=50.0,
        cores=14,
        source="NVIDIA's data sheets of H100 SXM and DGX H100",
    )
}

UTILISATION = {"bfloat16": 0.02, "float32": 0.15}
"""Share of a GPU's peak that is assumed, NOT measured: recurrent networks with small matrices wait
for launches and memory; the lower share of the higher peak (20 and 10 TFLOPS) is our guess."""


def derive(
    published: Published,
    like: Calibration,
    precisions: Mapping[str, str],
    utilisation: Optional[float] = None,
) -> Calibration:
    """Rates of a GPU that nobody measured: published peak times an assumed utilisation.

    Args:
        like: measured elsewhere: the memory of activations and the processor cores' rates are its.
        precisions: part -> precision of its training.
        utilisation: instead of UTILISATION; also of the memory's speed, for decoding.

    Raises:
        ConfigError: a utilisation outside 0 to 1.
    """
    if utilisation is not None and not 0 < utilisation <= 1:
        raise ConfigError(f"--utilisation {utilisation}: expected a share above 0, up to 1")
    parts = {}
    share = {p: UTILISATION[p] if utilisation is None else utilisation for p in UTILISATION}
    peak = {p: published.tflops[p] * 1000 / 2 * share[p] for p in share}
    for name, part in like.parts.items():
        precision = precisions.get(name, "float32")
        parts[name] = PartRates(
            counts=part.counts,
            train_gmac_s=peak[precision],
            overhead_s=0.0,
            infer_gmac_s=peak["float32"],
            activation_mb=part.activation_mb,
            activation_mb_per_gmac=part.activation_mb_per_gmac,
            precision=precision,
            note=part.note,
        )
    shares = ", ".join(f"{share[p]:g} of {published.tflops[p]:g} TFLOPS in {p}" for p in share)
    where = f"{like.machine['device']}, {like.machine['processor']}"
    return Calibration(
        kind=DERIVED,
        machine={"device": f"{published.name} (not at hand)", "source": published.source},
        device="cuda",
        cores=published.cores,
        parts=parts,
        audio_s_core_s=like.audio_s_core_s,
        memory_gb=published.memory_gb,
        read_gb_s=published.memory_gb_s * share["float32"],
        notes={
            "speed of the GPU": f"DERIVED, not measured: {shares} ASSUMED (--utilisation); "
            f"{published.source}",
            "memory of activations": f"measured on {where} in float32; bfloat16 needs less",
            "processor cores": f"their rates are those measured on {where}",
        },
    )
