"""Stages 5, 6 and 8: one training run as ESPnet sees it, reproducible from its folder."""

import hashlib
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

from tqdm import tqdm

from espnet_hybridse.fileio.checksum import file_sha256
from espnet_hybridse.fileio.decode import ARCHIVED
from espnet_hybridse.fileio.lists import ListError, atomic_path, read_list
from espnet_hybridse.fileio.yaml_config import read_yaml
from espnet_hybridse.model.files import WEIGHTS_STAMP, find_weights
from espnet_hybridse.runtime.workers import PARENT_VARIABLE
from espnet_hybridse.tokens.check import check_tokens
from espnet_hybridse.tokens.manifest import (
    MANIFEST_NAME,
    check_compatible,
    read_manifest,
    write_manifest,
)
from espnet_hybridse.training.curves import parse_epoch, read_curves
from espnet_hybridse.training.launch import INIT_FILE, JOB_LOG, launched
from espnet_hybridse.training.rotation import CHECKPOINT, PREVIOUS
from espnet_hybridse.training.step_checkpoint import NAME

STREAMS = {
    "disc": (),
    "gen": ("tokens",),
    "hybrid": ("speech_disc", "speech_gen"),
}
LENGTH_KEYS = ("max_epoch", "num_iters_per_epoch", "patience", "log_interval")
LENGTH_KEYS += ("save_steps", "save_minutes", "nan_patience")
"""Keys of a config that may change when training goes on."""

OVERFIT = ("--max_epoch", "20", "--num_iters_per_epoch", "25", "--patience", "none")
OVERFIT += ("--scheduler", "none", "--log_interval", "25")
"""Length of an overfitting test, 500 steps (our choice); options after `--` override it."""


@dataclass(frozen=True)
class TrainingRun:
    """What one branch is trained on and how.

    Args:
        branch: disc, gen or hybrid.
        config: training YAML.
        exp: experiment folder.
        train, valid: rendered sets, such as dump/raw/train; with preprocessor urgent_dynamic
            `train` is a set of dry speech.
        tokens: folder of token sets (stage 4), needed by gen.
        branches: folder of dumped branch outputs (stage 7), needed by hybrid.
        init: experiment whose weights to start from.
        init_exclude: prefixes of its parameters that are left at random here.
        on_the_fly: run a hybrid's frozen branches in training instead of reading their dumps.
        unfreeze: branches of a hybrid that are trained on together with it; never from dumps.
        max_hours: budget over all restarts.
        seed, ngpu, num_nodes: as in ESPnet; GPUs are those of each machine.
        launcher, nproc, rdzv, cmd: how its processes are started, see :func:`launched`.
        overfit: train and validate on so many utterances, always the same parts of them.
        profile: steps to profile instead of training.
        extra: further options of espnet2.bin.enh_train.
    """

    branch: str
    config: Path
    exp: Path
    train: Path
    valid: Path
    tokens: Path = Path("dump/tokens")
    branches: Path = Path("dump/branches")
    init: Optional[Path] = None
    init_exclude: Sequence[str] = ()
    on_the_fly: bool = False
    unfreeze: Sequence[str] = ()
    max_hours: Optional[float] = None
    seed: int = 0
    ngpu: int = 0
    num_nodes: int = 1
    launcher: str = "local"
    nproc: int = 1
    rdzv: Optional[str] = None
    cmd: Optional[str] = None
    overfit: Optional[int] = None
    profile: Optional[int] = None
    extra: List[str] = field(default_factory=list)

    def streams(self, dataset: Path) -> Iterator[str]:
        """ESPnet's `path,name,type` of each input of one set.

        Raises:
            ListError: a list is missing; the message names the stage that makes it.
        """
        files = {
            "speech_mix": (dataset / "wav.scp", "sound", 2),
            "speech_ref1": (dataset / "spk1.scp", "sound", 2),
            "fs": (dataset / "utt2fs", "text_int", 2),
            "tokens": (self.tokens / dataset.name / "text_int", "text_int", 4),
            "speech_disc": (self.branches / "disc" / dataset.name / "spk1.scp", "sound", 7),
            "speech_gen": (self.branches / "gen" / dataset.name / "spk1.scp", "sound", 7),
        }
        dumped = [
            name
            for name in STREAMS[self.branch]
            if name == "tokens" or not (self.on_the_fly or name[len("speech_") :] in self.unfreeze)
        ]
        # Noise that is drawn in training needs dry speech alone; validation stays rendered.
        dynamic = read_yaml(self.config).get("preprocessor") == "urgent_dynamic"
        dry = dynamic and dataset == self.train
        if dry and (dataset / "wav.scp").is_file():
            raise ListError(
                f"{dataset} is a rendered set, but preprocessor urgent_dynamic needs dry speech: "
                "make its lists with 'hybridse simulate --sources … --out … --lists_only'"
            )
        mixed = () if dry else ("speech_mix",)
        for name in (*mixed, "speech_ref1", "fs", *dumped):
            path, kind, stage = files[name]
            if not path.is_file():
                raise ListError(f"{path}: no such list; run stage {stage} first")
            if kind == "sound" and ARCHIVED.match(next(iter(read_list(path).values()))):
                kind = "kaldi_ark"
            yield f"{path},{name},{kind}"

    def identity(self) -> str:
        """What an experiment must not change between restarts: config, seed, data and start."""
        config = read_yaml(self.config)
        for key in LENGTH_KEYS:
            config.pop(key, None)
        parts = [repr(sorted(config.items())), str(self.seed), repr(self.extra)]
        for dataset in (self.train, self.valid):
            parts += [Path(s.split(",")[0]).read_text() for s in self.streams(dataset)]
            parts.append((dataset / "speech_length.scp").read_text())
        if self.init is not None:
            parts.append(file_sha256(find_weights(self.init)))
            parts += self.init_exclude
        parts += self.unfreeze
        if self.overfit is not None:
            parts.append(f"overfit={self.overfit}")
        # Dumped branch outputs keep their names when they are made again with other weights.
        for stream in STREAMS["hybrid"] if self.branch == "hybrid" else ():
            stamp = self.branches / stream[len("speech_") :] / self.train.name / WEIGHTS_STAMP
            parts.append(stamp.read_text() if stamp.is_file() else "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def command(self) -> List[str]:
        """The ESPnet command line."""
        command = [sys.executable, "-m", "espnet_hybridse.bin.enh_train"]
        command += ["--config", str(self.config), "--output_dir", str(self.exp)]
        valid = self.valid if self.overfit is None else self.train
        for mode, dataset in (("train", self.train), ("valid", valid)):
            for stream in self.streams(dataset):
                command += [f"--{mode}_data_path_and_name_and_type", stream]
            command += [f"--{mode}_shape_file", str(dataset / "speech_length.scp")]
        if self.init is not None:
            # ESPnet's "file:source key:destination key:excluded prefixes".
            exclude = f":::{','.join(self.init_exclude)}" if self.init_exclude else ""
            command += ["--init_param", f"{find_weights(self.init)}{exclude}"]
            if not self.init_exclude and self.overfit is None:
                command += ["--validate_start", "true"]
        if read_yaml(self.config).get("separator") == "ar_refiner":
            # The tokens define the vocabulary; the YAML's is that of the preset's own.
            vocabulary = read_manifest(self.tokens / self.train.name)["vocab_size"]
            command += ["--separator_conf", f"vocab_size={vocabulary}"]
        if self.unfreeze:
            command += ["--separator_conf", f"unfreeze=[{','.join(self.unfreeze)}]"]
        if self.max_hours is not None:
            command += ["--max_hours", str(self.max_hours)]
        command += ["--seed", str(self.seed), "--resume", "true"]
        if self.overfit is not None:
            command += ["--overfit", str(self.overfit), *OVERFIT]
        if self.profile is not None:
            command += ["--profile", str(self.profile)]
        return launched(
            command + self.extra,
            self.launcher,
            self.exp,
            ngpu=self.ngpu,
            num_nodes=self.num_nodes,
            nproc=self.nproc,
            rdzv=self.rdzv,
            cmd=self.cmd,
        )


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
    if "tokens" in STREAMS[run.branch]:
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
        tail = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-15:])
        raise RuntimeError(
            f"training {run.branch} failed (code {process.returncode}); {log}:\n{tail}"
        )
    return epochs
