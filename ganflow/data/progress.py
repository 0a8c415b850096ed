"""Progress of something that takes a while, on stderr: a bar in a terminal, two plain lines elsewhere.

with progress("earth: cutting tiles", 2500) as advance:
    for tile in tiles:
        advance()
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(label: str, total: int, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """Gives a function to call after each of ``total`` steps."""
    if not shown:
        yield lambda: None
    elif sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task(label, total=total)
            yield lambda: bar.advance(task)
    else:
        start = time.monotonic()
        say(f"{label} ({total}) ...")
        yield lambda: None
        say(f"{label}: done in {time.monotonic() - start:.1f} s")


def say(line: str) -> None:
    """One line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def _bar() -> object:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=False)
