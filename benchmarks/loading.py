"""Training crops a second of one loader worker: sought in the file, and cut from the whole of it.

    python benchmarks/loading.py [--seconds 10] [--fs 48000] [--num 60] [--chunk_s 4]
        [--format flac]

CPU time is counted, not time by the clock: other work on the machine does not change the numbers.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from espnet_hybridse.data.dataset import CropDataset  # noqa: E402
from espnet_hybridse.data.preprocessor import HybridPreprocessor  # noqa: E402
from espnet_hybridse.fileio.audio import read_audio, write_audio  # noqa: E402


def make_set(folder: Path, num: int, fs: int, seconds: float, kind: str) -> None:
    """`num` noisy and clean files of noise, and the lists of a set."""
    rng = np.random.default_rng(0)
    samples = round(seconds * fs)
    lists: dict[str, list[str]] = {"wav.scp": [], "spk1.scp": [], "utt2fs": [], "lengths": []}
    for number in range(num):
        for name in ("wav", "spk1"):
            path = folder / f"{name}_{number}.{kind}"
            write_audio(path, 0.1 * rng.standard_normal(samples).astype(np.float32), fs)
            lists[f"{name}.scp"].append(f"u{number} {path}")
        lists["utt2fs"].append(f"u{number} {fs}")
        lists["lengths"].append(f"u{number} {samples}")
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")


class Whole(HybridPreprocessor):
    """Decodes whole files, as ESPnet's dataset does, and cuts them then."""

    def __call__(self, uid, data):
        for name in ("speech_mix", "speech_ref1"):
            data[name] = read_audio(data[name].where)[0]
        return super().__call__(uid, data)


def crops_per_second(folder: Path, preprocess: HybridPreprocessor, num: int) -> float:
    """Crops (a noisy and a clean one are one) for a second of CPU time."""
    streams = [("wav.scp", "speech_mix", "sound"), ("spk1.scp", "speech_ref1", "sound")]
    streams.append(("utt2fs", "fs", "text_int"))
    streams = [(str(folder / path), name, kind) for path, name, kind in streams]
    dataset = CropDataset(streams, str(folder / "lengths"), preprocess)
    dataset[0]
    begun = time.process_time()
    for number in range(num):
        dataset[number]
    return num / (time.process_time() - begun)


def main() -> None:
    """Print one line a way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--fs", type=int, default=48000)
    parser.add_argument("--num", type=int, default=60)
    parser.add_argument("--chunk_s", type=float, default=4.0)
    parser.add_argument("--format", default="flac", help="flac or wav")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_set(Path(folder), args.num, args.fs, args.seconds, args.format)
        for name, kind in (("sought", HybridPreprocessor), ("whole files", Whole)):
            rate = crops_per_second(Path(folder), kind(True, args.chunk_s), args.num)
            print(
                f"{name:12s} {rate:7.1f} crops of {args.chunk_s:g} s per CPU second and worker "
                f"({args.format}, {args.seconds:g} s, {args.fs} Hz)"
            )


if __name__ == "__main__":
    main()
