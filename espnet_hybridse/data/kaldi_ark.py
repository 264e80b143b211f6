"""Many audio files in a few Kaldi archives: one inode for a thousand, read by ESPnet as they are.

An entry is `uid AUDIO<n><length><file>`: the extended archive of kaldiio, which ESPnet's data type
`kaldi_ark` reads. The file's own bytes are kept, so nothing is encoded again and every bit stays.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.fileio.lists import ListError, Quarantine, atomic_path, read_list, write_list

AUDIO_LISTS = ("wav.scp", "spk1.scp")
LENGTH_BYTES = 8


@dataclass(frozen=True)
class Shard:
    """One archive to be written: `path` with the files of `uids`."""

    path: Path
    uids: tuple[str, ...]


def plan_shards(sizes: dict[str, int], out: Path, name: str, shard_bytes: int) -> list[Shard]:
    """Cut a list, sorted by uid, into archives of about `shard_bytes`.

    The cut depends on the list alone, so that a second run finds the archives of the first.
    """
    shards: list[Shard] = []
    uids: list[str] = []
    filled = 0
    for uid in sorted(sizes):
        if uids and filled + sizes[uid] > shard_bytes:
            shards.append(Shard(out / f"{name}.{len(shards):05d}.ark", tuple(uids)))
            uids, filled = [], 0
        uids.append(uid)
        filled += sizes[uid]
    if uids:
        shards.append(Shard(out / f"{name}.{len(shards):05d}.ark", tuple(uids)))
    return shards


def archive_set(source: Path, out: Path, shard_bytes: int = 10**9) -> str:
    """Archive the audio of a rendered set and copy its other lists; returns what was done.

    An archive that is there already is kept. A file that cannot be read is quarantined, with its
    utterance left out of every list. wav.scp is written last: it marks the set as finished.

    Args:
        source: folder of hybridse simulate or enhance.
        out: folder to write.
        shard_bytes: size of an archive, about.

    Raises:
        ListError: `source` has no audio list, or `out` is `source`.
    """
    names = [name for name in AUDIO_LISTS if (source / name).is_file()]
    if not names or source.resolve() == out.resolve():
        raise ListError(
            f"{source} -> {out}: expected a folder with {' or '.join(AUDIO_LISTS)}, and another one"
        )
    tables = {name: read_list(source / name) for name in names}
    quarantine = Quarantine(out / "quarantine.tsv")
    bad = set()
    for name, table in tables.items():
        for uid, path in tqdm(table.items(), desc=f"looking at {name}", unit="file", disable=None):
            reason = trouble(path)
            if reason is not None and uid not in bad:
                bad.add(uid)
                quarantine.add(uid, path, reason)
    written = kept = 0
    entries: dict[str, dict[str, str]] = {}
    for name, table in tables.items():
        sizes = {uid: os.path.getsize(path) for uid, path in table.items() if uid not in bad}
        entries[name] = {}
        for shard in plan_shards(sizes, out, Path(name).stem, shard_bytes):
            if is_current(shard, table, sizes):
                kept += 1
            else:
                write_shard(shard, table)
                written += 1
            for uid, offset in offsets(shard, sizes):
                entries[name][uid] = f"{shard.path}:{offset}"
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name not in (*AUDIO_LISTS, "quarantine.tsv"):
            copy_list(path, out / path.name, bad)
    for name in reversed(names):
        write_list(out / name, entries[name])
    return f"{out}: {written} archives written, {kept} there already; {quarantine.summary()}"


def trouble(path: str) -> str | None:
    """Why a file cannot be archived, or None; its header is read, not its samples."""
    try:
        read_info(path)
    except BadAudio as error:
        return str(error)
    return None


def write_shard(shard: Shard, table: dict[str, str]) -> None:
    """Write one archive, atomically, of the files' own bytes."""
    with atomic_path(shard.path) as tmp:
        with open(tmp, "wb") as handle:
            for uid in shard.uids:
                content = Path(table[uid]).read_bytes()
                handle.write(f"{uid} ".encode() + b"AUDIO" + bytes([LENGTH_BYTES]))
                handle.write(len(content).to_bytes(LENGTH_BYTES, "little") + content)


def offsets(shard: Shard, sizes: dict[str, int]) -> Iterable[tuple[str, int]]:
    """(uid, byte at which its object begins) of an archive."""
    position = 0
    for uid in shard.uids:
        position += len(uid.encode()) + 1
        yield uid, position
        position += len(b"AUDIO") + 1 + LENGTH_BYTES + sizes[uid]


def is_current(shard: Shard, table: dict[str, str], sizes: dict[str, int]) -> bool:
    """Whether an archive is whole and newer than every file in it."""
    if not shard.path.is_file():
        return False
    head = len(b"AUDIO") + 1 + LENGTH_BYTES
    length = sum(len(uid.encode()) + 1 + head + sizes[uid] for uid in shard.uids)
    stat = shard.path.stat()
    newest = max(os.path.getmtime(table[uid]) for uid in shard.uids)
    return stat.st_size == length and stat.st_mtime >= newest


def copy_list(source: Path, target: Path, without: set[str]) -> None:
    """Copy a list; lines of the uids in `without` are left out."""
    with atomic_path(target) as tmp:
        if not without:
            shutil.copyfile(source, tmp)
            return
        lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.partition(" ")[0].partition("\t")[0] not in without]
        tmp.write_text("".join(kept), encoding="utf-8")
