"""Small files of a run: written whole or not at all, and what to say when they cannot be written.

write_whole("runs/pix2pix/plan.txt", text)
"""

from __future__ import annotations

import os
from pathlib import Path

from ganflow.data.cache import FULL
from ganflow.data.sink import whole_or_nothing
from ganflow.errors import GanflowError


def write_whole(path: str | os.PathLike[str], data: str | bytes, *, status: int = 2) -> Path:
    """``write_whole("out/plan.txt", text)``: as it was before, or with all of ``data``; text as UTF-8.

    Raises:
        GanflowError: no space left (status 1), or the folder cannot be written to (``status``).
    """
    path = Path(path)
    try:
        with whole_or_nothing(path) as sink:
            sink.write(data.encode("utf-8") if isinstance(data, str) else data)
    except OSError as error:
        raise cannot_write(path, error, status=status) from error
    return path


def cannot_write(path: Path, error: OSError, *, after: str = "", status: int = 2) -> GanflowError:
    """``raise cannot_write(path, error)``: what to tell the user.

    Args:
        path: what was to be written.
        error: why it was not.
        after: added to the message, such as what was written last.
        status: exit status, unless the disk is full, which is always 1: the input was not at fault.
    """
    if error.errno in FULL:
        message, code, status = f"no space left to write {path}", "disk-full", 1
        hint = "free some space, or choose a run directory on another disk"
    else:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message, code = f"{path} cannot be written: {reason}", "cannot-write"
        hint = "choose a place that you can write to"
    return GanflowError(f"{message}; {after}" if after else message, hint=hint, code=code, status=status)
