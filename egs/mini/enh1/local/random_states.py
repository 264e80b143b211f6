#!/usr/bin/env python3
"""Enhance a list with a generative branch whose refiner is given random LM states.

The states keep their size (RMS) and lose what they say. What the scores lose against the branch
itself is what the refiner takes from the language model.
"""

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from espnet_hybridse import Enhancer
from espnet_hybridse.fileio.audio import read_audio, write_audio
from espnet_hybridse.fileio.lists import read_list, write_list


def randomise(refiner: torch.nn.Module, seed: int) -> None:
    """Replace the states (third argument) in every call of the refiner."""
    generator = torch.Generator().manual_seed(seed)

    def hook(module, given):
        spectrum, ilens, states, slens = given
        noise = torch.randn(states.shape, generator=generator).to(states)
        return spectrum, ilens, noise * states.square().mean().sqrt(), slens

    refiner.register_forward_pre_hook(hook)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wavs", type=Path, help="wav.scp of noisy speech")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--model", type=Path, required=True, help="trained generative branch")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    enhancer = Enhancer.from_pretrained(args.model)
    randomise(enhancer.model.separator.refiner, args.seed)
    written = {}
    for uid, path in tqdm(read_list(args.wavs).items(), unit="utt"):
        wav, fs = read_audio(path)
        written[uid] = args.out / "wav" / f"{uid}.flac"
        write_audio(written[uid], enhancer(wav, fs), fs)
    write_list(args.out / "spk1.scp", written)


if __name__ == "__main__":
    main()
