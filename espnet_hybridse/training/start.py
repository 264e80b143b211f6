"""Starting a training, and the record of what was begun and finished."""

import shlex

from espnet_hybridse.fileio.lists import ListError, atomic_path
from espnet_hybridse.model.branch import GEN
from espnet_hybridse.model.files import find_weights
from espnet_hybridse.tokens.check import check_tokens
from espnet_hybridse.tokens.manifest import (
    MANIFEST_NAME,
    check_compatible,
    read_manifest,
    write_manifest,
)
from espnet_hybridse.training.checkpoint import CHECKPOINT, PREVIOUS
from espnet_hybridse.training.curves import read_curves
from espnet_hybridse.training.follow import Entry, follow
from espnet_hybridse.training.run import TrainingRun
from espnet_hybridse.training.step_checkpoint import NAME


def keep_manifest(run: TrainingRun) -> None:
    """Record the tokens' manifest with the experiment, and refuse tokens of another tokenizer.

    Raises:
        ManifestError: the tokens differ between the sets, from those that this experiment was
            begun with, or from those of the weights it starts from; or they cannot be learned.
    """
    tokens = run.tokens / run.train.name
    manifest = read_manifest(tokens)
    others = [run.tokens / run.valid.name, run.exp, run.init]
    for other in others:
        if other is not None and (other / MANIFEST_NAME).is_file():
            check_compatible(manifest, read_manifest(other), str(tokens), str(other))
    for dataset in (run.train, run.valid):
        check_tokens(run.tokens / dataset.name, manifest["vocab_size"])
    run.exp.mkdir(parents=True, exist_ok=True)
    write_manifest(run.exp, manifest)


def train(run: TrainingRun, entry: Entry | None = None) -> str:
    """Train, or go on training, one branch; returns the line that says what was done.

    Args:
        run: what is trained on what.
        entry: main function of `espnet_hybridse.bin.enh_train`, which a training of one process
            then calls instead of starting one.

    Raises:
        RuntimeError: training failed; the message carries the end of its log.
        ManifestError: see :func:`keep_manifest`.
    """
    command = run.command()
    here = entry if run.one_process else None
    if run.profile is not None:
        follow(run.exp, run.branch, command, run.launcher, here)
        return (run.exp / "profile.txt").read_text(encoding="utf-8")
    line = " ".join(shlex.quote(part) for part in command)
    # The config may ask for more epochs than before.
    wanted = f"{line}\n{run.config.read_text()}"
    begun = run.identity()
    record, done = run.exp / ".identity", run.exp / ".done"
    # Before the first checkpoint nothing is lost by another configuration.
    has_weights = any((run.exp / name).is_file() for name in (CHECKPOINT, PREVIOUS, NAME))
    if has_weights and record.is_file() and record.read_text() != begun:
        raise ListError(
            f"{run.exp} was begun with another configuration, seed, data or start; delete it to "
            "train anew, or name another folder (--exp; in the recipe --expdir)"
        )
    if done.is_file() and done.read_text() == wanted:
        return f"{run.exp}: trained already"
    if run.branch == GEN.name:
        keep_manifest(run)
    with atomic_path(record) as tmp:
        tmp.write_text(begun)
    with atomic_path(run.exp / "run.sh") as tmp:
        tmp.write_text(f"#!/bin/sh\n# Reproduces this experiment.\n{line}\n")
    epochs = follow(run.exp, run.branch, command, run.launcher, here)
    with atomic_path(done) as tmp:
        tmp.write_text(wanted)
    log = run.exp / "train.log"
    if run.overfit is not None:
        [(_, first), *_, (_, last)] = read_curves(log)["train"]["loss"] * 2
        return (
            f"{run.exp}: loss on {run.overfit} utterances {first:.4g} in the first epoch, "
            f"{last:.4g} in the last; log {log}"
        )
    return f"{run.exp}: {epochs} epochs, weights {find_weights(run.exp).name}, log {log}"
