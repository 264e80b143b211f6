"""Quality and first sound of a stream by the length of its segments.

    python -m benchmarks.segments --model M --noisy wav.scp --ref spk1.scp \\
        [--seconds 10 5 2 1] [--overlap S ...] [--metrics PESQ ESTOI DNSMOS_OVRL]

Every file is enhanced as a live stream in blocks of 0.1 s. "First sound" is how much of it had come
in when the first samples went out; the real-time factor is that of the whole, of one thread.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from espnet_hybridse import Enhancer
from espnet_hybridse.cli.arguments import device_of
from espnet_hybridse.fileio.audio import read_audio, write_audio
from espnet_hybridse.fileio.lists import read_list, write_list
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.inference.gate import GATES
from espnet_hybridse.scoring.engine import score
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.table import System, mean_and_interval

BLOCK_S = 0.1


def streamed(enhancer: Enhancer, wav: np.ndarray, fs: int) -> tuple[np.ndarray, float]:
    """What a live stream gives, (T,), and the seconds that had come in before its first sound."""
    came_in, first, size = [0], None, int(BLOCK_S * fs)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, wav.size, size):
            came_in[0] = min(start + size, wav.size)
            yield wav[start : start + size]

    out = []
    for block in enhancer.stream(blocks(), fs):
        first = came_in[0] / fs if first is None else first
        out.append(block)
    return np.concatenate(out), first or 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="as of hybridse enhance")
    parser.add_argument("--branch", help="of a hybrid")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gate", choices=GATES, default="auto")
    parser.add_argument("--noisy", type=Path, required=True, help="list of noisy speech")
    parser.add_argument("--ref", type=Path, required=True, help="list of its references")
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0, 5.0, 2.0, 1.0])
    parser.add_argument(
        "--overlap",
        nargs="+",
        type=float,
        default=[None],
        help="seconds of the fades; each in turn",
    )
    parser.add_argument("--metrics", nargs="+", default=["PESQ", "ESTOI", "DNSMOS_OVRL"])
    parser.add_argument("--max_utts", type=int)
    parser.add_argument("--nj", type=int, default=1, help="processes of the scoring")
    args = parser.parse_args()
    noisy = dict(sorted(read_list(args.noisy).items())[: args.max_utts])
    device, rows = device_of(args.device), []
    torch.set_num_threads(1)
    for seconds, overlap in itertools.product(args.seconds, args.overlap):
        enhancer = Enhancer.from_pretrained(
            args.model, args.branch, device, segment_s=seconds, overlap_s=overlap, gate=args.gate
        )
        with tempfile.TemporaryDirectory() as folder:
            done, first, took, length = {}, [], 0.0, 0.0
            for uid, path in tqdm(noisy.items(), f"segments of {seconds:g} s"):
                wav, fs = read_audio(path, "first")
                start = time.process_time()
                out, came_in = streamed(enhancer, wav, fs)
                took, length = took + time.process_time() - start, length + wav.size / fs
                done[uid] = Path(folder) / f"{uid}.flac"
                write_audio(done[uid], out, fs)
                if wav.size / fs > seconds:
                    first.append(came_in)
            write_list(Path(folder) / "inf.scp", done)
            score(args.ref, Path(folder) / "inf.scp", Path(folder) / "scores", args.metrics,
                  nj=args.nj)  # fmt: skip
            system = System.read("", Path(folder) / "scores")
        row = {
            "seconds": seconds,
            "overlap": enhancer.overlap_s,
            "first": max(first) if first else None,
            "rtf": took / length,
        }
        for column in METRICS:
            values = list(system.values(column).values())
            if values:
                row[column] = "{:.3f} ± {:.3f}".format(
                    *mean_and_interval(values, [1.0] * len(values))
                )
        rows.append(row)
    columns = {
        "seconds": ("--segment (s)", "{:g}"),
        "overlap": ("--overlap (s)", "{:g}"),
        "first": ("first sound after (s)", "{:.1f}"),
        "rtf": ("real-time factor", "{:.3f}"),
    }
    names = {name for row in rows for name in row}
    columns |= {name: (name, "{}") for name in METRICS if name in names}
    print(f"\n{Table.of(rows, columns).markdown()}")


if __name__ == "__main__":
    main()
