"""Tokens of every clean utterance of a list; a killed run goes on where it was."""

import logging
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from espnet_hybridse.fileio.audio import BadAudio, fit_length, read_audio, resample
from espnet_hybridse.fileio.lists import Quarantine, appended, read_list, write_list
from espnet_hybridse.fileio.shards import Shard, read_tokens, shard_lists
from espnet_hybridse.runtime.workers import worker_pool
from espnet_hybridse.tokens.kmeans import KmeansTokenizer
from espnet_hybridse.tokens.manifest import (
    MANIFEST_NAME,
    ManifestError,
    check_compatible,
    read_manifest,
    write_manifest,
)
from espnet_hybridse.tokens.tokenizer import BACKENDS, Tokenizer, load_tokenizer
from espnet_hybridse.tokens.xcodec import XcodecTokenizer


def read_16k(path: str | Path) -> np.ndarray:
    """Read clean speech at 16 kHz, (round(S * 16000 / fs),) float32: frames stay aligned."""
    wav, fs = read_audio(path)
    return fit_length(resample(wav, fs, 16000), round(wav.size * 16000 / fs))


def extract(
    spk1: str | Path,
    out: str | Path,
    backend: str | None = None,
    model: str | None = None,
    semantic: str = "whisper",
    layer: str | int = "last",
    units: int | None = None,
    fit_on: int | None = None,
    seed: int | None = None,
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
        backend: "xcodec" or "kmeans"; by default that of `manifest`, else "kmeans".
        model: id or folder of the codec (xcodec) or of the encoder (kmeans).
        semantic, layer, units, fit_on, seed: k-means: features, number of centroids, and how many
            utterances, drawn at random, they are learned on; by default 256 units on 500
            utterances, seed 0.
        manifest: reuse the tokenizer of that token set: validation sets must share training's.
        nj: processes; with a GPU 1 is enough.
        device: "cpu" or "cuda…".
        split: "i/n": every n-th utterance only, for array jobs. They must share a codebook.

    Raises:
        ManifestError: `out` or `manifest` are of another tokenizer than the one asked for, or
            k-means jobs have none to share.
        ValueError: an unknown back end, a wrong split, or no readable utterance.
    """
    if backend not in (None, *BACKENDS):
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    if units is not None and units < 1:
        raise ValueError(f"units {units} must be at least 1")
    if units is not None and backend == "xcodec":
        raise ValueError(f"units {units} are those of kmeans; leave --units out with xcodec")
    asked = {"backend": backend, "vocab_size": units, "fit_on": fit_on, "seed": seed}
    asked = {field: value for field, value in asked.items() if value is not None}
    if manifest:
        _check_asked(asked, read_manifest(manifest), manifest)
    backend = backend or "kmeans"
    shard, out = Shard(split), Path(out)
    wavs = shard.cut(read_list(spk1))
    out.mkdir(parents=True, exist_ok=True)
    made = (out / MANIFEST_NAME).is_file()
    if made:
        if manifest:
            check_compatible(read_manifest(manifest), read_manifest(out), "--manifest", str(out))
        else:
            kmeans = {"semantic": (semantic, str(layer))} if backend == "kmeans" else {}
            _check_asked({"backend": backend, **asked, **kmeans}, read_manifest(out), out)
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
            conf = {"backend": semantic, "model": model, "layer": layer}
            fit = {"units": units or 256, "fit_on": fit_on or 500, "seed": seed or 0}
            tokenizer = _build(wavs, backend, model, conf, device, **fit)
        tokenizer.save(out)
        write_manifest(out, {**tokenizer.manifest(), **_fitted(backend, fit_on, seed, manifest)})
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
    """Drop utterances that left the list or, since it was finished, were rendered again."""
    stamp = target.stat().st_mtime if target.is_file() else math.inf
    return {
        uid: tokens
        for uid, tokens in done.items()
        if uid in wavs and not _is_newer(wavs[uid], stamp)
    }


def _is_newer(path: str, stamp: float) -> bool:
    return Path(path).is_file() and Path(path).stat().st_mtime > stamp


def _fitted(backend, fit_on, seed, manifest) -> dict[str, object]:
    """Manifest fields, for the reader and for `_check_asked`, of how k-means units were learned."""
    if manifest:
        theirs = read_manifest(manifest)
        return {field: theirs[field] for field in ("fit_on", "seed") if field in theirs}
    return {"fit_on": fit_on or 500, "seed": seed or 0} if backend == "kmeans" else {}


def _check_asked(asked: dict[str, object], present: dict, where: str | Path) -> None:
    """Refuse options that contradict a manifest, which would win without a word."""
    seen = dict(present)
    if "semantic" in present:
        seen["semantic"] = (present["semantic"]["backend"], str(present["semantic"]["layer"]))
    for field, value in asked.items():
        # Manifests made before these fields were kept say nothing of them.
        if seen.get(field, value if field in ("fit_on", "seed") else None) != value:
            raise ManifestError(
                f"{where} holds tokens with {field} {seen.get(field)!r}, this run asks for "
                f"{value!r}; leave that option out, or make other tokens: another --out, no "
                "--manifest, or delete that folder (./run.sh: --from_scratch true)"
            )


def _build(wavs, backend, model, semantic, device, units, fit_on, seed) -> Tokenizer:
    if backend == "xcodec":
        return XcodecTokenizer(model, device)
    uids = sorted(wavs)
    random.Random(seed).shuffle(uids)
    logging.info("learning %d units on %d utterances", units, min(fit_on, len(uids)))
    speech = _readable(wavs[uid] for uid in uids[:fit_on])
    return KmeansTokenizer.fit(speech, semantic, units, seed, device=device)


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
    with appended(shard.part_in(out)) as append:
        for uid, tokens, duration, reason in tqdm(
            _run(jobs, out, model, nj, device), total=len(jobs), unit="utt", disable=None
        ):
            if reason:
                quarantine.add(uid, wavs[uid], reason)
                continue
            seconds += duration
            append(f"{uid} {tokens}")
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
