"""How long a generative training of a million utterances takes to start, and what it holds.

    python benchmarks/start_large.py [--rows 1300000] [--workers 2] [--work DIR]

Lists of that many rows are made, all of which name a few small files; the network is tiny, so that
what is measured is the lists. Seconds are from the start of the training process to its first two
batches, by the clock and of its processor time, which other work on the machine does not stretch;
memory is the proportional set size, in which what processes share counts once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from helpers.training_runs import VOCABULARY, make_noise_data, noise_run  # noqa: E402

from espnet_hybridse.training.start import keep_manifest  # noqa: E402

SECONDS = 4.5
RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
KINDS = 64
"""Different token sequences: the length of the lists counts, not what they say."""


def make_lists(small: Path, large: Path, tokens: Path, rows: int) -> int:
    """Lists of `rows` utterances in `large` and `tokens`; returns their bytes."""
    for folder in (large, tokens):
        folder.mkdir(parents=True, exist_ok=True)
    files = {
        name: [line.split()[1] for line in (small / name).read_text().splitlines()]
        for name in ("wav.scp", "spk1.scp")
    }
    rng = np.random.default_rng(0)
    frames = int(SECONDS * 50)
    spoken = [" ".join(map(str, rng.integers(0, VOCABULARY, frames))) for _ in range(KINDS)]
    names = [large / name for name in ("wav.scp", "spk1.scp", "utt2fs", "speech_length.scp")]
    handles = [open(path, "w") for path in (*names, tokens / "text_int")]
    for row in range(rows):
        uid, rate = f"corpus-speaker{row // 300:05d}-utterance{row:08d}", RATES[row % len(RATES)]
        values = [files["wav.scp"][row % len(RATES)], files["spk1.scp"][row % len(RATES)]]
        values += [rate, int(SECONDS * rate), spoken[row % KINDS]]
        for handle, value in zip(handles, values, strict=True):
            handle.write(f"{uid} {value}\n")
    for handle in handles:
        handle.close()
    (tokens / "manifest.json").write_bytes((tokens.parent / "train/manifest.json").read_bytes())
    return sum(Path(handle.name).stat().st_size for handle in handles)


def memory(pid: int) -> dict[int, float]:
    """Proportional set size in GB of a process and of those it started, by process."""
    found = {}
    for process in (pid, *children(pid)):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        found[process] = sum(int(x.split()[1]) for x in lines if x.startswith("Pss:")) / 1e6
    return found


def processor_s(pid: int) -> float:
    """Processor time of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Processes below one."""
    try:
        direct = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [p for child in map(int, direct) for p in (child, *children(child))]


def main() -> None:
    """Print what was measured, as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_300_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder to leave the lists in")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="start_large_"))
    raw = work / "dump/raw/train"
    if not raw.is_dir():
        make_noise_data(work, num=7, rates=RATES, seconds=SECONDS)
    large = raw.with_name("large")
    size = make_lists(raw, large, work / "dump/tokens/large", args.rows)
    run = noise_run(
        work,
        "gen",
        work / f"exp_{time.time():.0f}",
        num_iters_per_epoch=2,
        num_workers=args.workers,
        batch_size=4,
        preprocessor_conf={"chunk_s": 4.0},
    )
    run = replace(run, train=large, valid=raw)
    begun = time.perf_counter()
    run.identity()
    keep_manifest(run)
    checked = time.perf_counter() - begun
    begun, peak = time.perf_counter(), {}
    with open(run.exp / "log", "w") as log:
        process = subprocess.Popen(run.command(), stdout=log, stderr=log)
    first = None
    while process.poll() is None:
        now = memory(process.pid)
        if sum(now.values()) > sum(peak.values()):
            peak = now
        rows = run.exp / "progress.jsonl"
        if first is None and rows.is_file() and rows.read_text().count("\n") >= 2:
            first, used = time.perf_counter() - begun, processor_s(process.pid)
        time.sleep(0.5)
    if process.returncode or first is None:
        sys.exit((run.exp / "log").read_text()[-3000:])
    main_gb, *workers_gb = peak.values()
    result = {
        "rows": args.rows,
        "list_gb": size / 1e9,
        "lists_checked_s": checked,
        "first_batches_s": first,
        "first_batches_cpu_s": used,
        "process_gb": main_gb,
        "each_worker_gb": max(workers_gb, default=0.0),
        "all_gb": sum(peak.values()),
    }
    print(json.dumps({k: round(v, 2) for k, v in result.items()}))


if __name__ == "__main__":
    main()
