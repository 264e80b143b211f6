"""Starting a training, following it, and the record of what was begun and finished."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence

from tqdm import tqdm

from espnet_hybridse.fileio.lists import ListError, atomic_path
from espnet_hybridse.model.branch import GEN
from espnet_hybridse.model.files import find_weights
from espnet_hybridse.runtime.workers import PARENT_VARIABLE
from espnet_hybridse.tokens.manifest import (
    MANIFEST_NAME,
    check_compatible,
    read_manifest,
    write_manifest,
)
from espnet_hybridse.training.checkpoint import CHECKPOINT, PREVIOUS
from espnet_hybridse.training.curves import parse_epoch, read_curves
from espnet_hybridse.training.launch import INIT_FILE, JOB_LOG
from espnet_hybridse.training.run import TrainingRun
from espnet_hybridse.training.step_checkpoint import NAME

TAIL = 15
"""Lines of the log that an error carries."""
TRACEBACK = re.compile(r"^(\[rank\d+\]: ?|)Traceback \(most recent call last\):")


def keep_manifest(run: TrainingRun) -> None:
    """Record the tokens' manifest with the experiment, and refuse tokens of another tokenizer.

    Raises:
        ManifestError: the tokens differ between the sets, from those that this experiment was
            begun with, or from those of the weights it starts from.
    """
    tokens = run.tokens / run.train.name
    manifest = read_manifest(tokens)
    others = [run.tokens / run.valid.name, run.exp, run.init]
    for other in others:
        if other is not None and (other / MANIFEST_NAME).is_file():
            check_compatible(manifest, read_manifest(other), str(tokens), str(other))
    run.exp.mkdir(parents=True, exist_ok=True)
    write_manifest(run.exp, manifest)


def train(run: TrainingRun) -> str:
    """Train, or go on training, one branch; returns the line that says what was done.

    Raises:
        RuntimeError: training failed; the message carries the end of its log.
        ManifestError: see :func:`keep_manifest`.
    """
    command = run.command()
    if run.profile is not None:
        follow(run, command)
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
    epochs = follow(run, command)
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


def follow(run: TrainingRun, command: Sequence[str]) -> int:
    """Run a training command with its output in `train.log`; the number of the last epoch.

    Raises:
        RuntimeError: it failed; the message carries the end of the log.
    """
    run.exp.mkdir(parents=True, exist_ok=True)
    log = run.exp / "train.log"
    # Processes that meet at the file of a killed training would wait for it.
    (run.exp / INIT_FILE).unlink(missing_ok=True)
    (run.exp / JOB_LOG).unlink(missing_ok=True)
    before = len(log.read_text(errors="replace").splitlines()) if log.is_file() else 0
    environment = dict(os.environ)
    if run.launcher == "local":  # others put a process between, which ends with its own
        environment[PARENT_VARIABLE] = str(os.getpid())
    epochs = 0
    bar = tqdm(desc=f"training {run.branch}", unit="epoch", dynamic_ncols=True)
    with open(log, "a", encoding="utf-8") as handle:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
        for text in process.stdout:
            handle.write(text)
            handle.flush()
            parsed = parse_epoch(text)
            if parsed is not None:
                epochs, train_values, valid_values = parsed
                bar.set_postfix(train=train_values.get("loss"), valid=valid_values.get("loss"))
                bar.update()
        process.wait()
        if (run.exp / JOB_LOG).is_file():  # the cluster's job could not write to us
            text = (run.exp / JOB_LOG).read_text(encoding="utf-8", errors="replace")
            handle.write(text)
            parsed = [value for value in map(parse_epoch, text.splitlines()) if value]
            epochs = parsed[-1][0] if parsed else 0
    bar.close()
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()
        cause = first_error(lines[before:])
        words = f"\n{cause}\nlast lines of the log:" if cause else ""
        raise RuntimeError(
            f"training {run.branch} failed (code {process.returncode}); {log}:{words}\n"
            + "\n".join(lines[-TAIL:])
        )
    return epochs


def first_error(lines: Iterable[str]) -> str | None:
    """The error that the first traceback of a log ends with, by the rank that raised it.

    Where several processes train, the one that fails first takes the others with it, and what
    ends the log is the launcher's report.
    """
    prefix = None
    for line in lines:
        if prefix is None:
            match = TRACEBACK.match(line)
            prefix = match.group(1) if match else None
        elif line.startswith(prefix):
            words = line[len(prefix) :]
            if words and not words[0].isspace():
                return f"{prefix}{words}".strip()
    return None
