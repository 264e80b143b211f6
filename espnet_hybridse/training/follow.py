"""Runs a training command, here or in processes of its own, with its output in train.log."""

import contextlib
import io
import logging
import os
import re
import subprocess
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from tqdm import tqdm

from espnet_hybridse.runtime.workers import PARENT_VARIABLE
from espnet_hybridse.training.curves import parse_epoch
from espnet_hybridse.training.launch import INIT_FILE, JOB_LOG

FORMAT = f"[{os.uname().nodename.split('.')[0]}] %(asctime)s (%(module)s:%(lineno)d) "
FORMAT += "%(levelname)s: %(message)s"
"""That of ESPnet's own logs."""
MODULE = 3
"""Words of a command before its options: the interpreter, -m and the module."""

TAIL = 15
"""Lines of the log that an error carries."""
TRACEBACK = re.compile(r"^(\[rank\d+\]: ?|)Traceback \(most recent call last\):")

Entry = Callable[[Sequence[str]], None]


class LogWriter(io.TextIOBase):
    """Writes a log through and moves a bar at every line that closes an epoch."""

    def __init__(self, handle: IO[str], bar: tqdm):
        self.handle, self.bar = handle, bar
        self.epochs, self.line = 0, ""

    def write(self, text: str) -> int:
        self.handle.write(text)
        self.handle.flush()
        *lines, self.line = (self.line + text).split("\n")
        for parsed in filter(None, map(parse_epoch, lines)):
            self.epochs, train_values, valid_values = parsed
            self.bar.set_postfix(train=train_values.get("loss"), valid=valid_values.get("loss"))
            self.bar.update()
        return len(text)


def follow(
    exp: Path, branch: str, command: Sequence[str], launcher: str, entry: Entry | None = None
) -> int:
    """Run a training command to its end; the number of the last epoch.

    Args:
        exp: the experiment's folder; train.log in it is appended to.
        branch: what the progress bar calls it.
        command: see :func:`~espnet_hybridse.training.launch.launched`.
        launcher: "local" processes end with this one, others with what started them.
        entry: main function of the training module, to train in this process with the command's
            options: it saves the seconds that a new process takes to import ESPnet.

    Raises:
        RuntimeError: it failed; the message carries the end of the log.
    """
    exp.mkdir(parents=True, exist_ok=True)
    log = exp / "train.log"
    # Processes that meet at the file of a killed training would wait for it.
    (exp / INIT_FILE).unlink(missing_ok=True)
    (exp / JOB_LOG).unlink(missing_ok=True)
    before = len(log.read_text(errors="replace").splitlines()) if log.is_file() else 0
    bar = tqdm(desc=f"training {branch}", unit="epoch", dynamic_ncols=True)
    with bar, open(log, "a", encoding="utf-8") as handle:
        writer = LogWriter(handle, bar)
        if entry is not None:
            code = _run_here(entry, command[MODULE:], writer)
        else:
            code = _run_apart(command, launcher, writer)
        if (exp / JOB_LOG).is_file():  # the cluster's job could not write to us
            writer.write((exp / JOB_LOG).read_text(encoding="utf-8", errors="replace"))
    if code:
        lines = log.read_text(errors="replace").splitlines()
        cause = first_error(lines[before:])
        words = f"\n{cause}\nlast lines of the log:" if cause else ""
        tail = "\n".join(lines[-TAIL:])
        raise RuntimeError(f"training {branch} failed (code {code}); {log}:{words}\n{tail}")
    return writer.epochs


def _run_here(entry: Entry, options: Sequence[str], writer: LogWriter) -> int:
    """Call `entry` with its prints and log lines in the log; its exit code."""
    root, handler = logging.getLogger(), logging.StreamHandler(writer)
    handler.setFormatter(logging.Formatter(FORMAT))
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(writer), contextlib.redirect_stderr(writer):
            entry(list(options))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc(file=writer)
        return 1
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return 0


def _run_apart(command: Sequence[str], launcher: str, writer: LogWriter) -> int:
    """Start the command's processes and wait for them; their exit code."""
    environment = dict(os.environ)
    if launcher == "local":  # others put a process between, which ends with its own
        environment[PARENT_VARIABLE] = str(os.getpid())
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    )
    for text in process.stdout:
        writer.write(text)
    return process.wait()


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
