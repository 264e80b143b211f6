"""Damaged files and lists, from a seed: what an enhancement must survive."""

from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from helpers.odd_files import archived, encoded, noise

from espnet_hybridse.fileio.lists import ListError, read_list, read_sources, write_list
from espnet_hybridse.inference.files.jobs import Job, plan_jobs
from espnet_hybridse.inference.files.one_file import enhance_file
from espnet_hybridse.inference.options import Options

SNDFILE = [
    # ending, container, subtype
    ("wav", "WAV", "PCM_16"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
    ("opus", "OGG", "OPUS"),
    ("aiff", "AIFF", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("w64", "W64", "PCM_16"),
    ("rf64", "RF64", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("caf", "CAF", "PCM_16"),
    ("sph", "NIST", "PCM_16"),
    ("wav", "WAV", "IMA_ADPCM"),
    ("voc", "VOC", "PCM_16"),
]
FFMPEG = [
    # ending, codec, rate, FFmpeg's sample format
    ("m4a", "aac", 16000, "fltp"),
    ("webm", "libopus", 48000, "s16"),
    ("mkv", "flac", 16000, "s16"),
    ("mov", "pcm_s16le", 16000, "s16"),
    ("wma", "wmav2", 16000, "fltp"),
    ("aac", "aac", 16000, "fltp"),
    ("ac3", "ac3", 32000, "fltp"),
]
EXTREMES = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0"]


def whole_files(folder: Path) -> list[tuple[str, bytes]]:
    """(ending, bytes) of a fifth of a second of noise in every container, and of an archive."""
    found = []
    for suffix, container, subtype in SNDFILE:
        path = folder / f"whole.{suffix}"
        soundfile.write(path, noise(3200), 16000, subtype=subtype, format=container)
        found.append((suffix, path.read_bytes()))
    for suffix, codec, fs, fmt in FFMPEG:
        path = folder / f"whole.{suffix}"
        encoded(path, codec, noise(fs // 2), fs, fmt)
        found.append((suffix, path.read_bytes()))
    for extended in (True, False):
        archived(folder / "whole.ark", {"u": found[0][1]}, extended)
        found.append(("ark", (folder / "whole.ark").read_bytes()))
    return found


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped, a header's number at its limits, cut short, or a piece doubled."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        kind, at = rng.integers(5), int(rng.integers(len(changed)))
        if kind == 0:
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            at = int(rng.integers(min(len(changed), 80)))
            changed[at : at + 4] = EXTREMES[rng.integers(len(EXTREMES))]
        elif kind == 2:
            changed[at : at + 16] = rng.bytes(16)
        elif kind == 3 and len(changed) > 60:
            del changed[at:]
        else:
            changed[at:at] = changed[at : at + 64]
        if not changed:
            break
    return bytes(changed)


LISTS = [
    b"u1 /in/a.wav\nu2 /in/b.wav\n",
    b"\xef\xbb\xbfu1 /in/a.wav\r\nu2 /in/b.wav\r\n",
    "u1 one\x0btwo\u2028three\x85\nu2 \u00a0\u3000\n".encode(),
    b"caf\xe9 /in/caf\xe9.wav\nu2\t\t/in/b.wav\n",
    "u1 /in/a.wav\nu2 /in/b.wav\n".encode("utf-16"),
    b"u1 16000 /in/a.wav\nu2 8000 /in/b.wav\n",
]


def broken_list(rng: np.random.Generator) -> bytes:
    """A list that somebody damaged: mutated bytes, doubled or cut lines, lost separators."""
    data = LISTS[rng.integers(len(LISTS))]
    kind = rng.integers(4)
    if kind == 0:
        return mutated(data, rng)
    lines = data.split(b"\n")
    at = int(rng.integers(len(lines)))
    if kind == 1:
        lines.insert(at, lines[int(rng.integers(len(lines)))])
    elif kind == 2:
        lines[at] = lines[at].replace(b" ", b"", 1)
    else:
        lines[at] = rng.bytes(int(rng.integers(1, 40)))
    return b"\n".join(lines)


class Unchanged:
    """Files are the matter here: samples go through."""

    options = Options(gate="off")

    def stream(self, blocks, fs, share=None, live=True):
        return blocks


def fuzz_files(folder, count, seed=0):
    """Enhance `count` damaged files; returns how many were enhanced and quarantined, by ending."""
    rng, whole, counts = np.random.default_rng(seed), whole_files(folder), Counter()
    out = folder / "out"
    for number in range(count):
        suffix, data = whole[number % len(whole)]
        source, target = folder / f"in.{suffix}", out / "out.flac"
        source.write_bytes(mutated(data, rng))
        place = Path(f"{source}:2") if suffix == "ark" else source
        target.unlink(missing_ok=True)
        result = enhance_file(Unchanged(), Job(str(number), place, target))
        counts[suffix, result.as_dict()["status"]] += 1
        if result.reason is None:
            assert soundfile.info(target).frames == round(result.seconds * result.fs)
        else:
            assert len(result.reason) > 10 and not target.exists()
        assert not list(out.glob(".tmp-*"))
    return counts


def fuzz_lists(folder, count, seed=0):
    """Read `count` damaged lists: read or refused with the file's name, and nothing else."""
    rng, path, counts = np.random.default_rng(seed), folder / "wav.scp", Counter()
    for _ in range(count):
        path.write_bytes(broken_list(rng))
        for read in (read_list, read_sources):
            try:
                table = read(path)
            except ListError as error:
                assert "wav.scp" in str(error)
                str(error).encode("utf-8", "strict")
                counts["refused"] += 1
                continue
            counts["read"] += 1
            assert table and all(key and key == key.strip(" \t\r\n") for key in table)
            if read is read_list:
                write_list(folder / "again.scp", table)
                assert {k: v.strip(" \t\r") for k, v in table.items()} == read_list(
                    folder / "again.scp"
                )
        try:
            jobs = plan_jobs(path, folder / "out")
            assert all(folder / "out" in job.target.parents for job in jobs)
        except (ListError, ValueError) as error:
            assert "wav.scp" in str(error)
    return counts
