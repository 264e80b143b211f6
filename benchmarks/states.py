"""What the language model's states are worth to the refiner, by distortion.

    python -m benchmarks.states --set dump/raw/test --out exp/states [--model M] [--max_utts N]

Enhances the noisy files of a set with the generative branch three times: as it is, with the states
of each utterance in random order (their statistics stay, what they say goes), and with states of
zero. A refiner that does not listen gives the same three times. Prints the tables of `hybridse
score` of all three, by distortion too.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from espnet_hybridse import Enhancer
from espnet_hybridse.cli.arguments import device_of
from espnet_hybridse.cli.main import main as hybridse
from espnet_hybridse.fileio.audio import read_audio, write_audio
from espnet_hybridse.fileio.lists import read_list, write_list

SEED = 0


def shuffled(states: Tensor, nlens: Tensor) -> Tensor:
    """States (B, N, H) in random order within each utterance's own frames (B,)."""
    order = torch.Generator().manual_seed(SEED)
    out = states.clone()
    for row, frames in enumerate(nlens.tolist()):
        out[row, :frames] = states[row, torch.randperm(frames, generator=order)]
    return out


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "own": lambda states, nlens: states,
    "shuffled": shuffled,
    "zero": lambda states, nlens: torch.zeros_like(states),
}


@contextmanager
def heard_as(refiner: nn.Module, kind: str):
    """The refiner hears changed states meanwhile."""

    def change(_module: nn.Module, args: tuple) -> tuple:
        spectrum, ilens, states, nlens = args
        return spectrum, ilens, KINDS[kind](states, nlens), nlens

    handle = refiner.register_forward_pre_hook(change)
    try:
        yield
    finally:
        handle.remove()


def enhance(enhancer: Enhancer, noisy: dict[str, str], out: Path, kind: str) -> None:
    """Write out/spk1.scp and its files; finished ones are kept."""
    done = {uid: out / f"{uid}.flac" for uid in noisy}
    with heard_as(enhancer.model.separator.refiner, kind), torch.no_grad():
        for uid, path in tqdm(noisy.items(), f"states: {kind}"):
            if not done[uid].is_file():
                wav, fs = read_audio(path, "first")
                write_audio(done[uid], enhancer(wav, fs), fs)
    write_list(out / "spk1.scp", done)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--set", type=Path, required=True, help="of hybridse simulate")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--model", help="as of hybridse enhance")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--metrics", nargs="+", default=["DNSMOS_OVRL", "PESQ", "ESTOI"])
    parser.add_argument("--max_utts", type=int)
    args = parser.parse_args(argv)
    noisy = dict(sorted(read_list(args.set / "wav.scp").items())[: args.max_utts])
    enhancer = Enhancer.from_pretrained(args.model, "gen", device_of(args.device), gate="off")
    rows = []
    for kind in KINDS:
        enhance(enhancer, noisy, args.out / kind, kind)
        given = ["--ref", str(args.set / "spk1.scp"), "--inf", str(args.out / kind / "spk1.scp")]
        scores = args.out / kind / "scores"
        code = hybridse(["score", *given, "--out", str(scores), "--metrics", *args.metrics])
        if code:
            return code
        rows.append(f"{kind}={scores}")
    return hybridse(["score", "--table", *rows, "--meta", str(args.set / "meta.tsv")])


if __name__ == "__main__":
    sys.exit(main())
