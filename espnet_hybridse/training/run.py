"""One training run as ESPnet sees it, reproducible from its folder."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_hybridse.data.mapped_list import first_value
from espnet_hybridse.data.streams import STREAMS, Stream
from espnet_hybridse.fileio.checksum import file_sha256
from espnet_hybridse.fileio.decode import ARCHIVED
from espnet_hybridse.fileio.lists import ListError
from espnet_hybridse.fileio.yaml_config import read_yaml
from espnet_hybridse.model.branch import GEN, HYBRID
from espnet_hybridse.model.files import WEIGHTS_STAMP, find_weights
from espnet_hybridse.tokens.manifest import read_manifest
from espnet_hybridse.training.launch import launched

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
        tokens: folder of token sets (hybridse tokenize), needed by gen.
        branches: folder of dumped branch outputs (hybridse enhance), needed by hybrid.
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
    init: Path | None = None
    init_exclude: Sequence[str] = ()
    on_the_fly: bool = False
    unfreeze: Sequence[str] = ()
    max_hours: float | None = None
    seed: int = 0
    ngpu: int = 0
    num_nodes: int = 1
    launcher: str = "local"
    nproc: int = 1
    rdzv: str | None = None
    cmd: str | None = None
    overfit: int | None = None
    profile: int | None = None
    extra: list[str] = field(default_factory=list)

    def inputs(self, dataset: Path) -> Iterator[Stream]:
        """The inputs that this training reads of one set."""
        # Noise that is drawn in training needs dry speech alone; validation stays rendered.
        dynamic = read_yaml(self.config).get("preprocessor") == "urgent_dynamic"
        dry = dynamic and dataset == self.train
        if dry and (dataset / "wav.scp").is_file():
            raise ListError(
                f"{dataset} is a rendered set, but preprocessor urgent_dynamic needs dry speech: "
                "make its lists with 'hybridse simulate --sources … --out … --lists_only'"
            )
        for stream in STREAMS:
            if stream.branches and self.branch not in stream.branches:
                continue
            if stream.made_of and (self.on_the_fly or stream.made_of in self.unfreeze):
                continue
            if not (dry and stream.name == "speech_mix"):
                yield stream

    def streams(self, dataset: Path) -> Iterator[str]:
        """ESPnet's `path,name,type` of each input of one set.

        Raises:
            ListError: a list is missing; the message names the command that makes it.
        """
        for stream in self.inputs(dataset):
            path = stream.path(dataset, self.tokens, self.branches)
            if not path.is_file():
                raise ListError(f"{path}: no such list; {stream.made_by} makes it")
            kind = "text_int"
            if stream.is_audio:
                kind = "kaldi_ark" if ARCHIVED.match(first_value(path)) else "sound"
            yield f"{path},{stream.name},{kind}"

    @property
    def one_process(self) -> bool:
        """Whether this process can do the training itself."""
        return self.launcher == "local" and self.ngpu <= 1 and self.num_nodes == 1

    def identity(self) -> str:
        """What an experiment must not change between restarts: config, seed, data and start."""
        config = read_yaml(self.config)
        for key in LENGTH_KEYS:
            config.pop(key, None)
        parts = [repr(sorted(config.items())), str(self.seed), repr(self.extra)]
        for dataset in (self.train, self.valid):
            lists = [Path(stream.split(",")[0]) for stream in self.streams(dataset)]
            parts += [file_sha256(path) for path in (*lists, dataset / "speech_length.scp")]
        if self.init is not None:
            parts.append(file_sha256(find_weights(self.init)))
            parts += self.init_exclude
        parts += self.unfreeze
        if self.overfit is not None:
            parts.append(f"overfit={self.overfit}")
        # Dumped branch outputs keep their names when they are made again with other weights.
        for stream in STREAMS:
            if self.branch == HYBRID.name and stream.made_of:
                stamp = stream.path(self.train, self.tokens, self.branches).parent / WEIGHTS_STAMP
                parts.append(stamp.read_text() if stamp.is_file() else "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def command(self) -> list[str]:
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
        if read_yaml(self.config).get("separator") == GEN.separator:
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
