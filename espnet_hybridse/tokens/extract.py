"""Stage 4: tokens of every clean utterance of a list, killable and resumable."""

import logging
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from espnet_hybridse.audio import BadAudio, fit_length, read_audio, resample
from espnet_hybridse.lists import Quarantine, read_list, write_list
from espnet_hybridse.tokens.manifest import (
    MANIFEST_NAME,
    ManifestError,
    check_compatible,
    read_manifest,
    write_manifest,
)
from espnet_hybridse.tokens.token_lists import Shard, read_tokens, shard_lists
from espnet_hybridse.tokens.tokenizer import BACKENDS, Tokenizer, load_tokenizer
from espnet_hybridse.workers import worker_pool


def read_16k(path: str | Path) -> np.ndarray:
    """Clean speech at 16 kHz, (round(S * 16000 / fs),) float32, so that frames stay aligned."""
    wav, fs = read_audio(path)
    return fit_length(resample(wav, fs, 16000), round(wav.size * 16000 / fs))


def extract(
    spk1: str | Path,
    out: str | Path,
    backend: str = "kmeans",
    model: str | None = None,
    semantic: str = "whisper",
    layer: str | int = "last",
    units: int = 256,
    fit_on: int = 500,
    seed: int = 0,
    manifest: str | Path | None = None,
    nj: int = 1,
    device: str = "cpu",
    split: str | None = None,
) -> str:
    """Write `out/text_int` ("uid t1 t2 …") and `out/manifest.json`; return a summary line.

    With `split` it writes `out/text_int.iofn`; a run without it takes over the tokens of all such
    lists, makes what is still missing and removes them, which gives the bytes of a run in one go.

    Args:
        spk1: list of clean speech, any rate.
        out: the token set's folder.
        backend: "xcodec" or "kmeans".
        model: id or folder of the codec (xcodec) or of the encoder (kmeans).
        semantic, layer, units, fit_on, seed: k-means: features, number of centroids, and how many
            utterances, drawn at random, they are learned on.
        manifest: reuse the tokenizer of that token set: validation sets must share training's.
        nj: processes; with a GPU 1 is enough.
        device: "cpu" or "cuda…".
        split: "i/n": every n-th utterance only, for array jobs. They must share a codebook.

    Raises:
        ManifestError: `out` holds tokens of another tokenizer, or k-means jobs have none to share.
        ValueError: an unknown back end, a wrong split, or no readable utterance.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    shard, out = Shard(split), Path(out)
    wavs = shard.cut(read_list(spk1))
    out.mkdir(parents=True, exist_ok=True)
    made = (out / MANIFEST_NAME).is_file()
    if made:
        wanted = _wanted(backend, semantic, layer, units, manifest)
        _check_wanted(wanted, read_manifest(out), out)
    elif backend == "kmeans" and not (shard.whole or manifest):
        raise ManifestError(
            f"--split {split}: the jobs need one codebook; make one by a run over a part of the "
            "speech without --split and name its manifest.json with --manifest"
        )
    target = shard.list_in(out)
    done = _still_valid(read_tokens(out, shard), wavs, target)
    todo = [uid for uid in sorted(wavs) if uid not in done]
    if not todo and target.is_file():
        return f"{target}: all {len(wavs)} utterances have tokens, nothing to do"
    if done:
        logging.info("%s: %d utterances have tokens, %d to go", target, len(done), len(todo))
    if not made:
        if manifest:
            tokenizer = load_tokenizer(manifest, device, model)
        else:
            tokenizer = _build(wavs, backend, model, semantic, layer, units, fit_on, seed, device)
        tokenizer.save(out)
        write_manifest(out, tokenizer.manifest())
    quarantine = Quarantine(out / f"quarantine{shard.suffix}.tsv")
    started = time.monotonic()
    seconds = _extract(wavs, todo, out, shard, model, nj, device, quarantine)
    elapsed = max(time.monotonic() - started, 1e-9)
    tokens = read_tokens(out, shard)
    if not tokens:
        raise ValueError(f"{spk1}: no utterance could be read; see {quarantine.path}")
    write_list(target, {uid: tokens[uid] for uid in wavs if uid in tokens})
    for path in [shard.part_in(out), *(shard_lists(out) if shard.whole else [])]:
        path.unlink(missing_ok=True)
    return (
        f"{target}: {len(tokens.keys() & wavs.keys())} utterances, {len(todo)} new "
        f"({seconds / 60:.1f} min of speech at {seconds / elapsed:.0f} x real time), "
        f"{quarantine.summary()}"
    )


def _still_valid(done: dict[str, str], wavs: dict[str, str], target: Path) -> dict[str, str]:
    """Without utterances that left the list or, since it was finished, were rendered again."""
    stamp = target.stat().st_mtime if target.is_file() else math.inf
    return {
        uid: tokens
        for uid, tokens in done.items()
        if uid in wavs and not _is_newer(wavs[uid], stamp)
    }


def _is_newer(path: str, stamp: float) -> bool:
    return Path(path).is_file() and Path(path).stat().st_mtime > stamp


def _wanted(backend, semantic, layer, units, manifest) -> dict[str, object]:
    """Manifest fields that the options of this run ask for."""
    if manifest:
        return dict(read_manifest(manifest))
    if backend == "xcodec":
        return {"backend": backend}
    return {"backend": backend, "vocab_size": units, "semantic": (semantic, str(layer))}


def _check_wanted(wanted: dict[str, object], present: dict, out: Path) -> None:
    if "sha256" in wanted:
        check_compatible(wanted, present, "--manifest", str(out))
        return
    seen = dict(present)
    if "semantic" in present:
        seen["semantic"] = (present["semantic"]["backend"], str(present["semantic"]["layer"]))
    for field, value in wanted.items():
        if seen.get(field) != value:
            raise ManifestError(
                f"{out} holds tokens with {field} {seen.get(field)!r}, this run asks for "
                f"{value!r}; choose another --out, or delete that folder to make it anew"
            )


def _build(wavs, backend, model, semantic, layer, units, fit_on, seed, device) -> Tokenizer:
    if backend == "xcodec":
        from espnet_hybridse.tokens.xcodec import XcodecTokenizer

        return XcodecTokenizer(model, device)
    from espnet_hybridse.tokens.kmeans import KmeansTokenizer

    uids = sorted(wavs)
    random.Random(seed).shuffle(uids)
    conf = {"backend": semantic, "model": model, "layer": layer}
    logging.info("learning %d units on %d utterances", units, min(fit_on, len(uids)))
    speech = _readable(wavs[uid] for uid in uids[:fit_on])
    return KmeansTokenizer.fit(speech, conf, units, seed, device=device)


def _readable(paths) -> Iterator[np.ndarray]:
    for path in tqdm(list(paths), desc="fit", unit="utt", disable=None):
        try:
            yield read_16k(path)
        except BadAudio:
            continue  # the extraction that follows meets it again and puts it on the list


def _extract(
    wavs: dict[str, str],
    todo: list[str],
    out: Path,
    shard: Shard,
    model: str | None,
    nj: int,
    device: str,
    quarantine: Quarantine,
) -> float:
    """Append the tokens of `todo` to the part file; returns seconds of speech."""
    seconds = 0.0
    jobs = [(uid, wavs[uid]) for uid in todo]
    with open(shard.part_in(out), "a", encoding="utf-8") as part:
        for uid, tokens, duration, reason in tqdm(
            _run(jobs, out, model, nj, device), total=len(jobs), unit="utt", disable=None
        ):
            if reason:
                quarantine.add(uid, wavs[uid], reason)
                continue
            seconds += duration
            part.write(f"{uid} {tokens}\n")
            part.flush()
    return seconds


Result = tuple[str, str, float, str]
_worker: dict[str, Tokenizer] = {}
"""The tokenizer of a worker process, loaded once by its initialiser."""


def _run(jobs, out: Path, model: str | None, nj: int, device: str) -> Iterator[Result]:
    if nj <= 1:
        tokenizer = load_tokenizer(out, device, model)
        for job in jobs:
            yield _encode(tokenizer, job)
        return
    with worker_pool(nj, _start, (out, device, model)) as pool:
        yield from pool.map(_encode_in_worker, jobs, chunksize=4)


def _start(out: Path, device: str, model: str | None) -> None:
    torch.set_num_threads(1)
    _worker["tokenizer"] = load_tokenizer(out, device, model)


def _encode_in_worker(job: tuple[str, str]) -> Result:
    return _encode(_worker["tokenizer"], job)


def _encode(tokenizer: Tokenizer, job: tuple[str, str]) -> Result:
    uid, path = job
    try:
        wav = read_16k(path)
    except BadAudio as error:
        return uid, "", 0.0, str(error)
    return uid, " ".join(map(str, tokenizer.encode(wav))), wav.size / 16000, ""
