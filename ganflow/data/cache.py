"""Files that are made once and kept: where they lie, and how processes agree on who makes one.

build_once(cache_folder() / "tiles.h5", build, wait=print)
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ganflow.errors import GanflowError

UNFINISHED = ".{name}.writing-"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def cache_folder() -> Path:
    """``$GANFLOW_CACHE``, or the user's cache folder on this operating system; it may not exist yet."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("GANFLOW_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("ganflow", appauthor=False)


def unfinished(path: Path) -> Path:
    """The name under which this process writes ``path`` until it is whole."""
    return path.with_name(f"{UNFINISHED.format(name=path.name)}{os.getpid()}")


def build_once(path: Path, build: Callable[[Path], None], *, wait: Callable[[str], None]) -> None:
    """Call ``build(path)`` unless ``path`` is there. Processes that want it at the same time wait for one.

    Args:
        path: the file.
        build: makes it, whole or not at all.
        wait: told, once, that another process is making it.

    Raises:
        GanflowError: the disk is full (status 1), or the folder cannot be written to.
    """
    try:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, wait) as alone:
            if alone:
                _remove_unfinished(path)
            if not path.exists():
                build(path)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> GanflowError:
    """What to tell the user when ``path`` cannot be written."""
    number = error.errno or _number_in(str(error))
    reason = os.strerror(number) if number else str(error)
    if number in FULL:
        return GanflowError(
            f"no space left to write {path}",
            hint="free some, or set GANFLOW_CACHE to a folder on another disk",
            code="disk-full",
            status=1,
        )
    return GanflowError(
        f"{path} cannot be written: {reason}",
        hint="set GANFLOW_CACHE to a folder that you can write to",
        code="cannot-write",
    )


def _number_in(message: str) -> int:
    """HDF5 puts the operating system's error number into its text only."""
    found = re.search(r"errno = (\d+)", message)
    return int(found[1]) if found else 0


def _remove_unfinished(path: Path) -> None:
    """What killed builds left behind. Only to be called by whoever holds the lock."""
    for left in path.parent.glob(UNFINISHED.format(name=path.name) + "*"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path, wait: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock beside ``path``; the system releases it when its holder dies, however it dies.

    Gives False where there are no such locks: two processes may then both build, each under a name of its
    own, and the file of the last one stays.
    """
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        yield _lock(lock.fileno(), partial(wait, f"another process is making {path}; waiting for it"))


def _lock(descriptor: int, wait: Callable[[], None]) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        wait()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:  # some network disks
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True
