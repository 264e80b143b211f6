#!/usr/bin/env python3
"""Fuse dumped branch outputs without a network: what a learned mask has to beat, and its ceiling.

average: (Y_disc + Y_gen) / 2. oracle: in every bin of the 20/10 ms STFT the branch that lies nearer
to the clean speech; no mask of zeros and ones can come closer to it in mean square error.
"""

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from espnet_hybridse.fileio.audio import read_audio, write_audio
from espnet_hybridse.fileio.lists import read_list, write_list
from espnet_hybridse.nn.spectrum import istft, stft

WINDOW_MS = 20


def fuse(how: str, fs: int, disc: torch.Tensor, gen: torch.Tensor, clean: torch.Tensor):
    """Waveforms (T,) -> the fused one."""
    y_disc, y_gen, target = (stft(wav[None], fs, WINDOW_MS) for wav in (disc, gen, clean))
    if how == "average":
        mask = torch.full(y_disc.shape, 0.5)
    else:
        mask = ((y_disc - target).abs() <= (y_gen - target).abs()).float()
    return istft(mask * y_disc + (1 - mask) * y_gen, fs, WINDOW_MS, len(disc))[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("disc", "gen", "clean"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="list of waveforms")
    parser.add_argument("--out", type=Path, required=True, help="folder; one per way below it")
    args = parser.parse_args()
    lists = [read_list(path) for path in (args.disc, args.gen, args.clean)]
    shared = sorted(set.intersection(*map(set, lists)))
    for how in ("average", "oracle"):
        written = {}
        for uid in tqdm(shared, desc=how, unit="utt"):
            read = [read_audio(table[uid]) for table in lists]
            fs = read[0][1]
            out = fuse(how, fs, *(torch.from_numpy(wav) for wav, _ in read))
            written[uid] = args.out / how / "wav" / f"{uid}.flac"
            write_audio(written[uid], out.numpy(), fs)
        write_list(args.out / how / "spk1.scp", written)


if __name__ == "__main__":
    main()
