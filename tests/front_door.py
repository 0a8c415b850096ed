"""The commands that read a gin file, called in this process and watched.

    visit = Visitor(folder)
    found = visit("plan", "mutant.gin")        # Visit(status=2, code='gin-syntax', seconds=0.004, wrong=())

A visit goes wrong by a traceback, two seconds of processor time, a file that is written, a process that is started,
or a message that no one can read.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from ganflow import cli

LIMIT = 2.0  # seconds of processor time
SLOW = "too slow"
MEMORY = 1 << 19  # KiB that the process may grow by
LONGEST = 20_000  # characters of a message
MESSAGE = re.compile(r"^(?:.*?: )?error\[([\w-]+)\]: .", re.DOTALL)
STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "pty.spawn",
          "webbrowser.open", "ctypes.dlopen")  # fmt: skip
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree", "os.link", "os.symlink")


class TooSlow(BaseException):
    """Not an Exception: nobody between here and the loop may take it for one of theirs."""


@dataclass(frozen=True)
class Visit:
    """What one call of a command came to; ``wrong`` is empty as it should be."""

    status: int
    code: str
    seconds: float
    out: str
    err: str
    wrong: tuple[str, ...] = ()


_watched: list[list[str]] = []  # the visit that is going on; a hook of Python's cannot be taken out again


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event == "open":
        path, mode, flags = args
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
            _watched[-1].append(f"opened {path!r} for writing")
    elif event in STARTS or event in CHANGES:
        _watched[-1].append(f"{event}{args!r:.200}")


sys.addaudithook(_audit)


@contextlib.contextmanager
def watching() -> Iterator[list[str]]:
    """What is written and started inside the block."""
    _watched.append([])
    try:
        yield _watched[-1]
    finally:
        _watched.pop()


@contextlib.contextmanager
def limited(seconds: float = LIMIT) -> Iterator[None]:
    """Raise :class:`TooSlow` after so much processor time: a busy machine is no fault of ours."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def visit(command: str, *configs: str | Path, set_: Sequence[str] = ()) -> Visit:
    """``ganflow check|plan|source CONFIG... --set ...`` as the command line runs it.

    One that was too slow is made again: a slow file is slow every time, a pause of the machine is not.
    """
    functions: dict[str, Callable[[], None]] = {
        "plan": lambda: cli.plan([Path(c) for c in configs], list(set_), True, False),
        "check": lambda: cli.check([Path(c) for c in configs], list(set_), False, False),
        "source": lambda: cli.source([Path(c) for c in configs], list(set_)),
    }
    found = watched(functions[command])
    return watched(functions[command]) if found.wrong == (SLOW,) else found


def watched(function: Callable[[], object]) -> Visit:
    """Call a command, and see what it does."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace") for _ in range(2))
    wrong: list[str] = []
    status, before, began = 0, _memory(), time.process_time()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter("error")
        try:
            with limited(), watching() as events:
                function()
        except typer.Exit as exit_:
            status = exit_.exit_code
        except TooSlow:
            wrong.append(SLOW)
        except BaseException as error:
            wrong.append(f"{type(error).__name__}: {error!s:.300}")
    seconds = time.process_time() - began
    texts = [_read(stream) for stream in (out, err)]
    wrong += events
    wrong += [SLOW] if seconds > LIMIT and not wrong else []
    wrong += [f"took {_memory() - before} KiB"] if _memory() - before > MEMORY else []
    wrong += list(_wrong_message(status, *texts))
    found = MESSAGE.match(texts[1]) if status else None
    return Visit(status, found.group(1) if found else "", seconds, *texts, tuple(wrong))


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _read(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


def _wrong_message(status: int, out: str, err: str) -> Iterator[str]:
    if status not in (0, 2):
        yield f"exit status {status}: {err:.300}"
    if "Traceback" in err or "[internal]" in err:
        yield f"a traceback: {err:.300}"
    if status == 2 and not (MESSAGE.match(err) or re.search(r"[1-9]\d* errors?, ", out) or "error[" in out):
        yield f"no message: {err:.300}"
    if any(len(message) > LONGEST for message in re.split(r"(?=\b(?:error|warning|note)\[)", err)):
        yield f"a message of {len(err)} characters: {err:.300}"
    if any(not (c.isprintable() or c == "\n") for c in err):
        yield f"a message with control characters: {err!r:.300}"
