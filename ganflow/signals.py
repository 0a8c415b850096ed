"""Ctrl-C and SIGTERM while a run goes on: the iteration is finished first. A second one ends it at once.

with deferred() as asked:
    while not asked.to_end:
        iteration()
...
raise asked.error()                     # as if it came now: KeyboardInterrupt, or Terminated with status 143
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ganflow.errors import Terminated

NOTICE = b"\nfinishing the iteration and saving; once more ends it at once\n"


class Asked:
    """Whether somebody wants the run to end."""

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def to_end(self) -> bool:
        return self.number is not None

    def error(self) -> BaseException:
        """What the signal would have raised."""
        return KeyboardInterrupt() if self.number == signal.SIGINT else Terminated(128 + signal.SIGTERM)


@contextlib.contextmanager
def deferred() -> Iterator[Asked]:
    """Inside, the first SIGINT or SIGTERM is only noted. Elsewhere than in the main thread signals stay as they are."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # a shell starts what it puts in the background with SIGINT ignored
    ours = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}

    def note(number: int, frame: FrameType | None) -> None:
        if asked.number is not None:
            _as_before(ours[signal.Signals(number)], number, frame)
        asked.number = number
        with contextlib.suppress(OSError):  # print() is not to be called here: it may be what was interrupted
            os.write(2, NOTICE)

    try:
        for number in ours:
            signal.signal(number, note)
        yield asked
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


def _as_before(
    handler: Callable[[int, FrameType | None], Any] | int | None, number: int, frame: FrameType | None
) -> None:
    if callable(handler):
        handler(number, frame)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(128 + number)
