"""Lists from folders that the challenge's own scripts made; no audio is read or written.

Their lists hold paths relative to the checkout the scripts ran in. Ours name the same files by
absolute paths.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.fileio.lists import ListError, Quarantine, read_list, read_sources, write_list
from espnet_hybridse.simulation.meta import NO_TEXT, Sample, iter_meta, write_meta
from espnet_hybridse.simulation.provenance import NAME as ORIGIN
from espnet_hybridse.simulation.set_lists import RenderedFiles, write_lists
from espnet_hybridse.simulation.sources import NAMES

SOURCES = "data/train_sources"
LABELS = ("utt2spk", "utt2lang", "text")
SIMULATED = {"train": "data/train_simulation", "valid": "data/validation"}
METAS = {"train": "simulation_train/log/meta.tsv", "valid": "simulation_validation/log/meta.tsv"}
LANGUAGES = (
    (r"mls_german|common_voice_de", "deu"),
    (r"mls_spanish|common_voice_es", "spa"),
    (r"mls_french|common_voice_fr", "fra"),
    # The challenge's table lacks the last two patterns and calls them English.
    (r"common_voice_zh|^Elderly\d|(^|_)00(0[1-9]|10)_\d{6}", "zho"),
)
"""Pattern in a uid of the challenge -> ISO 639-3; anything else is English."""


def language_of(uid: str) -> str:
    """Language of an utterance of the challenge by its uid."""
    return next((lang for pattern, lang in LANGUAGES if re.search(pattern, uid)), "eng")


def continue_sources(checkout: Path, out: Path) -> str:
    """Make the lists of one set from `data/train_sources` below the challenge's checkout.

    Raises:
        ListError: the folder or one of its needed lists is not there or malformed, or the first
            speech file that it names is not there.
    """
    folder = checkout / SOURCES
    if not folder.is_dir():
        raise ListError(
            f"{folder}: no such folder; run 'bash utils/prepare_train_data.sh' in the challenge's "
            "checkout first, or name that checkout with --challenge_dir"
        )
    speech: dict[str, str] = {}
    for kind, (ours, theirs) in NAMES.items():
        if (folder / theirs).is_file() or kind in ("speech", "noise"):
            table = {
                uid: f"{fs} {absolute(checkout, path)}"
                for uid, (fs, path) in read_sources(folder / theirs).items()
            }
            write_list(out / ours, table)
            speech = table if kind == "speech" else speech
    first = next(iter(speech.values())).split(" ", 1)[1]
    if not Path(first).is_file():
        raise ListError(
            f"{folder / NAMES['speech'][1]}: {first} is not there; paths are meant from {checkout}"
        )
    for name in ("text", "utt2spk", "source_length.scp"):
        # Their script leaves an empty text.
        if (folder / name).is_file() and (folder / name).stat().st_size:
            write_list(out / name, read_list(folder / name))
        else:
            (out / name).unlink(missing_ok=True)
    write_list(out / "utt2lang", {uid: language_of(uid) for uid in speech})
    return f"{out}: {len(speech)} utterances of {folder}, by lists only"


def continue_simulated(name: str, folder: Path, root: Path, meta: Path | None, out: Path) -> str:
    """Make the lists of a set that was simulated elsewhere: `name` is train, valid or test.

    Files that are not there go to quarantine.tsv.

    Args:
        folder: has wav.scp and spk1.scp, and may have utt2fs, utt2spk, utt2lang, text and
            speech_length.scp; the files' headers give the rates and lengths that are missing.
        root: where its relative paths start.
        meta: the challenge's log of the parameters, if there is one.

    Raises:
        ListError: a needed list is missing or malformed, or no utterance has both files.
    """
    if not (folder / "wav.scp").is_file():
        raise ListError(f"{folder}: no wav.scp; the challenge's utils/prepare_*.sh make it")
    quarantine, kept = Quarantine(out / "quarantine.tsv"), []
    for uid, noisy, sample in _samples(name, folder, root, meta):
        if isinstance(sample, str):
            quarantine.add(uid, noisy, sample)
        else:
            kept.append(sample)
    if not kept:
        raise ListError(
            f"{folder}: none of its {quarantine.count} utterances is usable, see "
            f"{quarantine.path}; paths are meant from {root}"
        )
    # It was not rendered here: `hybridse check` must not try to render it again.
    (out / ORIGIN).unlink(missing_ok=True)
    write_meta(out / "meta.tsv", kept)
    write_lists(kept, out)
    return f"{out}: {len(kept)} utterances of {folder}, by lists only; {quarantine.summary()}"


def challenge_set(checkout: Path, name: str) -> tuple[Path, Path, Path]:
    """Folder, root and log of the challenge's set that is called `name` here."""
    return checkout / SIMULATED[name], checkout, checkout / METAS[name]


def absolute(checkout: Path, path: str) -> str:
    """A path of the challenge's lists, which are relative to its checkout."""
    return path if Path(path).is_absolute() else str(checkout.resolve() / path)


def _samples(
    name: str, folder: Path, root: Path, meta: Path | None
) -> Iterator[tuple[str, str, Sample | str]]:
    """(uid, noisy path, the sample or what is wrong with it), in order of uid."""
    clean = read_list(folder / "spk1.scp")
    given = {key: _optional(folder / key) for key in (*LABELS, "utt2fs", "speech_length.scp")}
    known = {sample.id: sample for sample in iter_meta(meta)} if meta and meta.is_file() else {}
    files = RenderedFiles()
    for uid, path in sorted(read_list(folder / "wav.scp").items()):
        noisy = absolute(root, path)
        if uid not in clean:
            yield uid, noisy, "no clean file in spk1.scp"
            continue
        sample = known.get(uid) or _unknown(name, uid)
        label = {key: given[key].get(uid) for key in given}
        lang = language_of(sample.speech_uid) if uid in known else label["utt2lang"] or "unknown"
        sample = dataclasses.replace(
            sample,
            noisy_path=noisy,
            clean_path=absolute(root, clean[uid]),
            speech_sid=sample.speech_sid or label["utt2spk"] or f"{name}-{uid}",
            lang=lang,
            text=" ".join((label["text"] or NO_TEXT).split()),
        )
        if not files.has(sample):
            yield uid, noisy, "missing: this file or its clean one"
            continue
        try:
            fs, length = label["utt2fs"], label["speech_length.scp"]
            if not (fs and length):
                info = read_info(noisy, exact=True)
                fs, length = fs or info.fs, length or info.frames
            yield uid, noisy, dataclasses.replace(sample, fs=int(fs), length=int(length))
        except ValueError as error:
            yield uid, noisy, f"no usable rate and length: {error}"


def _unknown(name: str, uid: str) -> Sample:
    """A sample of which nothing is known but its files: it shares nothing with other sets."""
    own = f"{name}-{uid}"
    nan = float("nan")
    return Sample(uid, "", own, "", "", own, nan, "none", "none", fs=0, length=0)


def _optional(path: Path) -> dict[str, str]:
    """A list that may be missing or empty."""
    return read_list(path) if path.is_file() and path.stat().st_size else {}
