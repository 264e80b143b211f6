"""What is scored: lists, folders or single files, and which file belongs to which."""

from collections.abc import Mapping
from pathlib import Path

from espnet_hybridse.fileio.folders import find_audio
from espnet_hybridse.fileio.formats import is_audio, shown
from espnet_hybridse.fileio.lists import ListError, PathLike, read_list


def audio_table(source: PathLike) -> dict[str, str]:
    """A list, a folder or a file -> utterance -> audio file.

    An utterance of a folder is called as its path within it, without the ending, that of a file
    as the file is.

    Raises:
        ListError: there is nothing of that name, or two files of a folder differ in their
            endings only.
    """
    path = Path(source)
    if path.is_dir():
        try:
            files = find_audio(path)
        except FileNotFoundError as error:
            raise ListError(f"{error}; expected audio files, or name a list") from None
        table: dict[str, str] = {}
        for file in files:
            uid = shown(file.relative_to(path).with_suffix("").as_posix())
            if uid in table:
                raise ListError(
                    f"{shown(file)} and {shown(table[uid])} would be one utterance; keep one of "
                    "them, or name a list"
                )
            table[uid] = str(file)
        return table
    if path.is_file() and is_audio(path):
        return {shown(path.stem): str(path)}
    return read_list(path)


def audio_tables(inf: PathLike, ref: PathLike | None) -> tuple[dict[str, str], dict[str, str]]:
    """What is scored, and its references ({} without): utterance -> audio file.

    A reference that is a single file belongs to the only file that is scored, however it is
    called. Where a folder's paths agree with nothing, its files go by their names.

    Raises:
        ListError: see `audio_table`.
    """
    mine = audio_table(inf)
    if ref is None:
        return mine, {}
    clean = audio_table(ref)
    if len(mine) == 1 and Path(ref).is_file() and is_audio(ref):
        return mine, dict(zip(mine, clean.values(), strict=True))
    if not mine.keys() & clean.keys():
        named = by_name(mine) if Path(inf).is_dir() else mine
        known = by_name(clean) if Path(ref).is_dir() else clean
        if named.keys() & known.keys():
            return named, known
    return mine, clean


def by_name(table: Mapping[str, str]) -> dict[str, str]:
    """The same files called without their folders; {} where two would be one."""
    named = {uid.rpartition("/")[2]: path for uid, path in table.items()}
    return named if len(named) == len(table) else {}


def scored_audio(settings: Mapping) -> tuple[dict[str, str], dict[str, str]]:
    """`audio_tables` of what `score` was given, from the same working directory.

    Raises:
        ListError: it is not there.
    """
    for source in filter(None, (settings["inf_scp"], settings["ref_scp"])):
        if not Path(source).exists():
            raise ListError(
                f"{source}: no such list, but these scores were made of it; run this where "
                "'hybridse score' ran, as its paths are relative to there"
            )
    return audio_tables(settings["inf_scp"], settings["ref_scp"])
