"""The calibration: three networks' steps and the data stages, timed on the machine at hand."""

import logging
import os
import time
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import torch

from espnet_hybridse.bench.machine import describe
from espnet_hybridse.bench.measure import measure, reason, seconds_of
from espnet_hybridse.bench.memory import MemoryProbe
from espnet_hybridse.plan.calibration import MEASURED, Calibration, PartRates
from espnet_hybridse.plan.data_rates import METRICS, measure_data
from espnet_hybridse.plan.network import Counts, count_network
from espnet_hybridse.plan.training_step import FS, Case, TrainingStep, prepare

SHARES = {"disc": 0.45, "gen": 0.25, "fusion": 0.15, "data": 0.15}
"""Of the time limit (our choice: by what a call costs)."""
SMALL_S = 0.24
"""Length of the small step: long enough for every network's windows."""
CALLS = 12
"""Calls that a part's time is divided by: warm-ups, timings and memory together."""


def calibrate(
    configs: Mapping[str, Mapping[str, Any]],
    device: torch.device,
    limit_s: float = 120.0,
    metrics: Sequence[str] = METRICS,
    counts: Optional[Mapping[str, Counts]] = None,
) -> Calibration:
    """Measure.

    Args:
        configs: disc, gen, fusion -> training YAML.
        device: where training would run.
        limit_s: about so long; a network whose smallest step takes longer exceeds it.
        metrics: that stage 10 would compute.
        counts: of networks that were counted before.

    Raises:
        ValueError: `limit_s` is not above 0.
        RuntimeError: a network's smallest step cannot run; the message says which and why.
    """
    if limit_s <= 0:
        raise ValueError(f"--limit_s {limit_s}: expected seconds above 0")
    begin = time.perf_counter()
    parts = {}
    with MemoryProbe(device, torch.get_num_threads()) as probe:
        for name, config in configs.items():
            logging.info(f"calibration: the {name} network on {device.type}")
            known = (counts or {}).get(name) or count_network(config)
            try:
                parts[name] = measure_part(config, known, probe, SHARES[name] * limit_s)
            except (RuntimeError, ValueError) as error:
                raise RuntimeError(f"calibration of the {name} network: {reason(error)}") from error
    logging.info("calibration: simulation, checks and scores on one processor core")
    left_s = limit_s - (time.perf_counter() - begin)
    number = max(4, min(24, round(max(left_s, SHARES["data"] * limit_s))))
    data = measure_data(number, metrics)
    notes = {"scores": f"metrics {', '.join(metrics)}"}
    if device.type == "cpu":
        notes["device"] = "no GPU was used: a 'GPU' of this plan is this whole machine's processor"
    return Calibration(
        kind=MEASURED,
        machine=describe(device),
        device=device.type,
        cores=_cores(device),
        parts=parts,
        audio_s_core_s=data,
        memory_gb=_memory_gb(device),
        notes=notes,
    )


def measure_part(
    config: Mapping[str, Any], counts: Counts, probe: MemoryProbe, budget_s: float
) -> PartRates:
    """Time and memory of one network at two sizes: their difference is what audio costs.

    Args:
        probe: its device is where the network runs.
        budget_s: the larger size is chosen to keep about to it.
    """
    device = probe.device
    small, first_s = _small_step(config, device)
    crop_s = (config.get("preprocessor_conf") or {}).get("chunk_s") or 3.0
    wanted = crop_s * config.get("batch_size", 4)
    audio_s = min(wanted, small.audio_s * max(2.0, budget_s / CALLS / first_s))
    large = _fits(config, small, audio_s, crop_s)
    sizes = {"small": small, "large": large}
    times: Dict[str, float] = {}
    # An eighth each: what is left is for the memory.
    for mode in ("train", "infer"):
        calls = {name: getattr(step, mode) for name, step in sizes.items()}
        measured, failed = measure(calls, 3, device, budget_s / 8, mode)
        for name, why in failed.items():
            raise RuntimeError(f"{mode}, {sizes[name].audio_s:.1f} s of audio: {why}")
        times.update({f"{mode} {name}": min(values) for name, values in measured.items()})
    gmac = {name: step.audio_s * counts.gmac_s[FS] for name, step in sizes.items()}
    work = {name: step.audio_s * work_s(counts) for name, step in sizes.items()}
    rate, overhead_s = _line(work, times["train small"], times["train large"])
    constant, slope = _memory(sizes, gmac, probe)
    amp = "bfloat16" if large.amp else "float32"
    return PartRates(
        counts=counts,
        train_gmac_s=rate,
        overhead_s=overhead_s,
        infer_gmac_s=gmac["large"] / times["infer large"],
        activation_mb=constant,
        activation_mb_per_gmac=slope,
        precision=amp,
    )


def work_s(counts: Counts, fs: int = FS) -> float:
    """Multiply-accumulates (10**9) of forward and backward pass for a second of audio.

    The backward pass is twice the forward pass, but for the frozen encoder, which has none.
    """
    return 3 * counts.gmac_s[fs] - 2 * counts.frozen_gmac_s


def _small_step(config: Mapping[str, Any], device: torch.device) -> Tuple[TrainingStep, float]:
    """The small step, warmed up, and its seconds."""
    small = TrainingStep(Case(config, 1, SMALL_S, device.type))
    small.train()
    first_s = seconds_of(small.train, device)
    small.infer()
    return small, first_s


def _fits(
    config: Mapping[str, Any], small: TrainingStep, audio_s: float, crop_s: float
) -> TrainingStep:
    """The large step with the same model; halved until the memory is enough."""
    while True:
        batch = max(1, round(audio_s / crop_s))
        case = Case(config, batch, min(crop_s, audio_s / batch), small.case.device)
        step = TrainingStep(case, small.model)
        try:
            step.train()
            return step
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            audio_s /= 2
            if audio_s < 2 * small.audio_s:
                raise


def _line(work: Mapping[str, float], small_s: float, large_s: float) -> Tuple[float, float]:
    """(rate, overhead) of time = overhead + work / rate through two points.

    Where noise makes the overhead negative it is 0 and the larger point counts alone.
    """
    slope = (large_s - small_s) / (work["large"] - work["small"])
    overhead = large_s - slope * work["large"]
    if slope <= 0 or overhead < 0:
        return work["large"] / large_s, 0.0
    return 1 / slope, overhead


def _memory(
    sizes: Mapping[str, TrainingStep], gmac: Mapping[str, float], probe: MemoryProbe
) -> Tuple[float, float]:
    """(MB, MB for each 10**9 multiply-accumulates of the forward pass) of a step's activations.

    On CPU at one and two small lengths, since a process of its own computes them again.
    """
    small = sizes["small"].case
    cases = [small, sizes["large"].case]
    if probe.device.type == "cpu":
        cases[1] = Case(small.config, small.batch, 2 * small.seconds, small.device)
    per_s = gmac["small"] / sizes["small"].audio_s
    peaks = [probe.peak(prepare, case) for case in cases]
    if None in peaks:
        raise RuntimeError("this system does not tell a process its peak memory; use Linux")
    amounts = [per_s * case.batch * case.seconds for case in cases]
    slope = max((peaks[1] - peaks[0]) / (amounts[1] - amounts[0]), 0.0)
    return max(peaks[0] - slope * amounts[0], 0.0), slope


def _memory_gb(device: torch.device) -> Optional[float]:
    """Of a GPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.get_device_properties(device).total_memory / 1e9


def _cores(device: torch.device) -> int:
    """Processor cores for each device."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, cores // torch.cuda.device_count()) if device.type == "cuda" else cores
