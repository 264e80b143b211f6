"""Long recordings of one voice each, out of a source folder's utterances.

    python -m benchmarks.join_speech data/test long/test [--seconds 60] [--num 3] [--pause 0.4]

writes a source folder with the noises and rooms of the first, whose speech is long: for
`hybridse simulate` with a `max_seconds` above `--seconds`, and `python -m benchmarks.segments`.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.audio import read_audio, write_audio
from espnet_hybridse.fileio.lists import read_list, read_sources, write_list


def join(folder: Path, out: Path, seconds: float, num: int, pause_s: float) -> list[str]:
    """Make `num` recordings of at least `seconds` of the voices that say most; their names."""
    speech, voices = read_sources(folder / "speech.scp"), read_list(folder / "utt2spk")
    said: dict[tuple[str, int], list[str]] = defaultdict(list)
    for uid in sorted(speech):
        said[voices[uid], speech[uid][0]].append(uid)
    rows, speakers = {}, {}
    for (voice, fs), uids in sorted(said.items(), key=lambda item: (-len(item[1]), item[0])):
        parts, length = [], 0
        for uid in uids:
            wav, _ = read_audio(speech[uid][1], "first")
            parts += [wav, np.zeros(int(pause_s * fs), wav.dtype)]
            length += parts[-1].size + wav.size
            if length >= seconds * fs:
                break
        if length < seconds * fs:
            continue
        name = f"long_{len(rows)}_{voice}"
        write_audio(out / f"{name}.flac", np.concatenate(parts)[: int(seconds * fs)], fs)
        rows[name], speakers[name] = f"{fs} {(out / f'{name}.flac').resolve()}", voice
        if len(rows) == num:
            break
    if not rows:
        raise ValueError(f"{folder}: no voice says {seconds:g} s at one rate; ask for less")
    write_list(out / "speech.scp", rows)
    write_list(out / "utt2spk", speakers)
    for kind in ("noise", "wind", "rir"):
        if (folder / f"{kind}.scp").is_file():
            write_list(out / f"{kind}.scp", read_list(folder / f"{kind}.scp"))
    return list(rows)


def main() -> None:
    """Write the folder and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with speech.scp, utt2spk, noise.scp, …")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--num", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.4, help="seconds between utterances")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print("\n".join(join(args.folder, args.out, args.seconds, args.num, args.pause)))


if __name__ == "__main__":
    main()
