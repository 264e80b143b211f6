"""What an enhancement does to clean speech, noise, levels and offsets, with and without gate.

    python -m benchmarks.gate --model M --clean clean.scp --noise noise.scp \\
        --noisy wav.scp --ref spk1.scp [--metrics PESQ ESTOI DNSMOS_OVRL] [--max_utts N]

Prints four tables: clean files (log-spectral change and PESQ against themselves), one utterance at
levels from -40 to 0 dBFS and with an offset of 0.3 (the first file of --clean), recordings of noise
(how far down, and the words that Whisper base hears in them), and the noisy set (means with 95 %
bootstrap intervals). Each list may be left out.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_hybridse import Enhancer
from espnet_hybridse.cli.arguments import device_of
from espnet_hybridse.fileio.audio import read_audio, write_audio
from espnet_hybridse.fileio.lists import read_list, write_list
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.inference.gate import GATES
from espnet_hybridse.inference.measures import Gauge
from espnet_hybridse.inference.second_look import KEY, Loudest
from espnet_hybridse.scoring.engine import score
from espnet_hybridse.scoring.metrics.character_accuracy import transcribe
from espnet_hybridse.scoring.metrics.metric import Context
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.table import System, mean_and_interval

LEVELS_DB = (-40, -30, -20, -10, 0, -20, -40, -5)
PAUSE_S = 0.5
FLOOR_DB = 60.0
"""What lies so far below a file's mean power is not heard, and not counted."""


def log_spectral_change(before: np.ndarray, after: np.ndarray, fs: int) -> float:
    """Mean over frames of the RMS over bins of the change in dB; 32 ms windows, half overlapped."""
    size = int(0.032 * fs)
    window = np.hanning(size + 1)[:-1]
    power = []
    for wav in (before, after):
        padded = np.pad(wav.astype(np.float64), size // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]
        power.append(np.square(np.abs(np.fft.rfft(frames * window))))
    floor = power[0].mean() * 10 ** (-FLOOR_DB / 10) + 1e-12
    change = 10 * np.log10((power[1] + floor) / (power[0] + floor))
    return float(np.sqrt(np.square(change).mean(1)).mean())


def level_db(wav: np.ndarray) -> float:
    return 10 * math.log10(float(np.square(wav, dtype=np.float64).mean()) + 1e-20)


def network_change_db(enhancer: Enhancer, wav: np.ndarray, fs: int) -> float:
    """What the network changes in the loudest seconds of clean speech (T,), in dB re its level."""
    loudest, gauge = Loudest(fs), Gauge(fs)
    loudest.add(wav[None])
    gauge.add(wav[None])
    measures = gauge.result()
    return enhancer.change_of(loudest) - measures.level_db if measures else -math.inf


def clean_table(enhancers: dict[str, Enhancer], files: dict[str, str]) -> Table:
    rows = []
    for gate, enhancer in enhancers.items():
        changes, pesq, most, same = [], [], [], 0
        for uid, path in tqdm(files.items(), f"clean, gate {gate}"):
            wav, fs = read_audio(path, "first")
            out = enhancer(wav, fs)
            same += bool(np.array_equal(out, wav))
            changes.append(log_spectral_change(wav, out, fs))
            most.append(network_change_db(enhancer, wav, fs))
            try:
                pesq.append(METRICS["PESQ"].compute(out, wav, fs, Context(uid)))
            except Exception:  # no speech in it, or not installed
                continue
        rows.append(
            {
                "gate": gate,
                "files": len(files),
                "same": same,
                "change": float(np.mean(changes)),
                "worst": float(np.max(changes)),
                "most": float(np.max(most)),
                "pesq": float(np.mean(pesq)) if pesq else None,
            }
        )
    columns = {
        "gate": ("Gate", "{}"),
        "files": ("files", "{}"),
        "same": ("left as they were", "{}"),
        "change": ("log-spectral change (dB)", "{:.2f}"),
        "worst": ("worst (dB)", "{:.2f}"),
        "most": (KEY, "{:.1f}"),
        "pesq": ("PESQ", "{:.2f}"),
    }
    return Table.of(rows, columns)


def noisy_table(
    enhancers: dict[str, Enhancer], noisy: dict[str, str], ref: Path, metrics: list[str], nj: int
) -> Table:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for gate, enhancer in enhancers.items():
            out, shares = Path(folder) / gate, []
            done = {uid: out / f"{uid}.flac" for uid in noisy}
            for uid, path in tqdm(noisy.items(), f"noisy, gate {gate}"):
                wav, fs = read_audio(path, "first")
                shares.append(enhancer.share_of(wav[None], fs))
                write_audio(done[uid], enhancer(wav, fs), fs)
            write_list(out / "inf.scp", done)
            score(ref, out / "inf.scp", out / "scores", metrics, nj=nj)
            system = System.read(gate, out / "scores")
            row = {"gate": gate, "share": float(np.mean(shares))}
            for column in METRICS:
                values = list(system.values(column).values())
                if values:
                    row[column] = "{:.3f} ± {:.3f}".format(
                        *mean_and_interval(values, [1.0] * len(values))
                    )
            rows.append(row)
    names = {name for row in rows for name in row} - {"gate", "share"}
    columns = {"gate": ("Gate", "{}"), "share": ("mean share", "{:.2f}")}
    columns |= {name: (name, "{}") for name in METRICS if name in names}
    return Table.of(rows, columns)


def noise_table(enhancers: dict[str, Enhancer], files: dict[str, str]) -> Table:
    hear, rows = recogniser(), []
    for gate, enhancer in enhancers.items():
        down, words = [], 0
        for path in tqdm(files.values(), f"noise, gate {gate}"):
            wav, fs = read_audio(path, "first")
            out = enhancer(wav, fs)
            down.append(level_db(wav) - level_db(out))
            words += len(hear(out, fs).split()) if hear else 0
        rows.append(
            {
                "gate": gate,
                "files": len(files),
                "down": float(np.median(down)),
                "least": float(np.min(down)),
                "share": f"{np.mean(np.array(down) >= 20):.0%}",
                "words": words if hear else None,
            }
        )
    columns = {
        "gate": ("Gate", "{}"),
        "files": ("files", "{}"),
        "down": ("median down by (dB)", "{:.1f}"),
        "least": ("least (dB)", "{:.1f}"),
        "share": ("20 dB or more", "{}"),
        "words": ("words heard", "{}"),
    }
    return Table.of(rows, columns)


def recogniser():
    """(wav, fs) -> what Whisper base hears; None without the package."""
    try:
        METRICS["CAcc(Whisper-base)"].check_assets(None)
    except Exception as error:
        print(f"no recogniser: {error}")
        return None
    return lambda wav, fs: transcribe(Context("").at_16k(wav, fs), "en")


def level_table(enhancers: dict[str, Enhancer], path: str, seed: int = 0) -> Table:
    """One utterance at many levels through a long file, clean and with noise; and an offset."""
    wav, fs = read_audio(path, "first")
    wav = 0.9 * wav / np.abs(wav).max()
    rng, rows = np.random.default_rng(seed), []
    for gate, enhancer in enhancers.items():
        for snr_db in (None, 15, 5):
            heard = wav
            if snr_db is not None:
                level = np.sqrt(np.square(wav).mean() / 10 ** (snr_db / 10))
                heard = wav + level * rng.standard_normal(wav.size).astype(np.float32)
            pause = np.zeros(int(PAUSE_S * fs), np.float32)
            parts = [(heard * np.float32(10 ** (level / 20)), pause) for level in LEVELS_DB]
            long = np.concatenate([part for pair in parts for part in pair]).astype(np.float32)
            out, period, gains = enhancer(long, fs), wav.size + pause.size, []
            for number in range(len(LEVELS_DB)):
                place = slice(number * period, number * period + wav.size)
                gains.append(level_db(out[place]) - level_db(long[place]))
            plain = enhancer(heard.astype(np.float32), fs)
            moved = enhancer((heard + np.float32(0.3)).astype(np.float32), fs)
            error = (moved - moved.mean()) - (plain - plain.mean())
            rows.append(
                {
                    "gate": gate,
                    "snr": "clean" if snr_db is None else f"{snr_db} dB",
                    "gain": float(np.mean(gains)),
                    "spread": float(np.ptp(gains)),
                    "offset": level_db(error) - level_db(plain - plain.mean()),
                }
            )
    columns = {
        "gate": ("Gate", "{}"),
        "snr": ("speech", "{}"),
        "gain": ("mean gain (dB)", "{:+.1f}"),
        "spread": ("gains apart by (dB)", "{:.2f}"),
        "offset": ("change by an offset of 0.3 (dB)", "{:.0f}"),
    }
    return Table.of(rows, columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="as of hybridse enhance")
    parser.add_argument("--branch", help="of a hybrid")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gates", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--clean", type=Path, help="list of clean speech")
    parser.add_argument("--noise", type=Path, help="list of noise without speech")
    parser.add_argument("--noisy", type=Path, help="list of noisy speech")
    parser.add_argument("--ref", type=Path, help="list of its references")
    parser.add_argument("--metrics", nargs="+", default=["PESQ", "ESTOI", "DNSMOS_OVRL"])
    parser.add_argument("--max_utts", type=int, help="of each list")
    parser.add_argument("--nj", type=int, default=1, help="processes of the scoring")
    args = parser.parse_args()
    device = device_of(args.device)
    enhancers = {
        gate: Enhancer.from_pretrained(args.model, args.branch, device, gate=gate)
        for gate in args.gates
    }

    def listed(path: Path) -> dict[str, str]:
        return dict(sorted(read_list(path).items())[: args.max_utts])

    if args.clean:
        clean = listed(args.clean)
        print(f"\n{clean_table(enhancers, clean).markdown()}", flush=True)
        print(f"\n{level_table(enhancers, next(iter(clean.values()))).markdown()}", flush=True)
    if args.noise:
        print(f"\n{noise_table(enhancers, listed(args.noise)).markdown()}", flush=True)
    if args.noisy:
        noisy = listed(args.noisy)
        table = noisy_table(enhancers, noisy, args.ref, args.metrics, args.nj)
        print(f"\n{table.markdown()}", flush=True)


if __name__ == "__main__":
    main()
