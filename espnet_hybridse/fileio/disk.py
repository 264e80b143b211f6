"""Room on the disk, the user's cache, and folders that appear whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a full disk, a quota and a limit of size."""


def free_bytes(path: Path) -> int:
    """Bytes that a user may still write where `path` is or will be, quotas not counted."""
    path = path.absolute()
    folder = next(folder for folder in (path, *path.parents) if folder.is_dir())
    return shutil.disk_usage(folder).free


def check_room(path: Path, needed: float, what: str, advice: str) -> None:
    """Raise a RuntimeError when `needed` bytes do not fit on the disk that `path` is on.

    Args:
        path: file or folder that is to be written, there or not.
        needed: bytes.
        what: that needs them, for the message.
        advice: what to do besides making room.
    """
    free = free_bytes(path)
    if needed > free:
        raise RuntimeError(
            f"{path}: {needed / 1e9:.2f} GB needed for {what}, {free / 1e9:.2f} GB free; make "
            f"room, or {advice}"
        )


def no_room(error: BaseException, path: Path) -> str:
    """Why `path` could not be written, with the room that is left."""
    free = free_bytes(path.parent)
    return f"cannot be written ({error}; {free / 1e9:.2f} GB free, quotas not counted)"


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/hybridse`, or one of this user's below /tmp.

    The latter where a home cannot be written, as in many containers.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "hybridse"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # the latter from a user without a home
        pass
    folder = Path(tempfile.gettempdir()) / f"hybridse-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
        raise RuntimeError(f"{folder} is another user's; set XDG_CACHE_HOME to a folder of yours")
    return folder


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that becomes it on success and goes on failure.

    A target that is there already, as another process was faster, stays as it is.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".tmp-{target.name}-"))
    try:
        yield staging
        mask = os.umask(0)
        os.umask(mask)
        with_umask = 0o777 & ~mask  # not mkdtemp's 700
        try:
            os.chmod(staging, with_umask)
        except OSError:
            pass
        try:
            os.replace(staging, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
