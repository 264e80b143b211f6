"""Report on checked sets: a table, rates and durations, the SNRs as a picture."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.pictures import pyplot, save
from espnet_hybridse.simulation.meta import CLEAN_SNR_DB, NOISE_ONLY_SNR_DB, Sample


@dataclass(frozen=True)
class SetReport:
    """One set: samples in meta.tsv, number kept, faults by kind, and what the kept ones are.

    rates: kept samples by rate in Hz
    seconds: duration of each kept sample
    snrs: SNR in dB of each kept sample of which it is known, by `noise` and `wind_noise`
    """

    name: str
    total: int
    kept: int
    faults: Counter[str]
    rates: Counter[int] = field(default_factory=Counter)
    seconds: tuple[float, ...] = ()
    snrs: dict[str, list[float]] = field(default_factory=dict)

    @property
    def hours(self) -> float:
        """Hours of the kept samples."""
        return sum(self.seconds) / 3600


def report_on(name: str, total: int, kept: list[Sample], faults: Counter[str]) -> SetReport:
    """The report on a set of which `kept` is left."""
    snrs: dict[str, list[float]] = {"noise": [], "wind_noise": []}
    for sample in kept:
        # Other tools' sets may not know it (nan); clean speech and noise alone have none.
        if not NOISE_ONLY_SNR_DB < sample.snr_dB < CLEAN_SNR_DB:
            continue
        wind = "wind_noise(" in sample.augmentation
        snrs["wind_noise" if wind else "noise"].append(sample.snr_dB)
    return SetReport(
        name,
        total,
        len(kept),
        faults,
        Counter(sample.fs for sample in kept),
        tuple(sample.length / sample.fs for sample in kept),
        snrs,
    )


def format_table(reports: list[SetReport]) -> str:
    """One line a set: samples, kept, hours, and what the others failed on; then what is kept."""
    lines = [f"{'set':<12} {'samples':>8} {'kept':>8} {'hours':>7}  set aside"]
    for report in reports:
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(report.faults.items()))
        lines.append(
            f"{report.name:<12} {report.total:>8} {report.kept:>8} {report.hours:>7.2f}  "
            f"{faults or 'none'}"
        )
    for report in reports:
        if report.kept:
            rates = ", ".join(f"{fs / 1000:g}k {report.rates[fs]}" for fs in sorted(report.rates))
            low, middle, high = np.quantile(report.seconds, [0, 0.5, 1])
            lines.append(
                f"{report.name}: rates {rates}; {low:.1f} to {high:.1f} s, median {middle:.1f} s"
            )
    return "\n".join(lines)


def plot_snrs(reports: list[SetReport], out: Path) -> None:
    """A histogram of the SNRs of each set, noise and wind apart, as one PNG.

    Raises:
        ValueError: matplotlib is not installed.
    """
    figure, axes = pyplot().subplots(
        1, len(reports), figsize=(4 * len(reports), 2.6), squeeze=False, constrained_layout=True
    )
    for axis, report in zip(axes[0], reports, strict=True):
        values = [snr for snrs in report.snrs.values() for snr in snrs]
        if values:
            edges = np.arange(np.floor(min(values)), np.ceil(max(values)) + 1.01)
            names = [name for name, snrs in report.snrs.items() if snrs]
            axis.hist([report.snrs[name] for name in names], edges, stacked=True, label=names)
            axis.legend()
        axis.set(title=f"{report.name}: {report.kept}", xlabel="SNR (dB)", ylabel="samples")
    save(figure, out)
