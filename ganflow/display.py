"""How far a run is, on stdout: a bar in a terminal, plain lines in a pipe or a file.

with display("pix2pix", total=2000) as shown:
    shown.advance()
    shown.report({"D": 0.61, "G": 23.4})         # what the last interval gave
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

REFRESH = 0.1  # seconds between two drawings of the bar


class Display(Protocol):
    """What the loop tells; ``advance`` costs next to nothing."""

    def advance(self, count: int = 1) -> None: ...

    def report(self, values: Mapping[str, float], *, updates: Collection[str]) -> None: ...

    def say(self, line: str) -> None: ...


@contextlib.contextmanager
def display(name: str, total: int, *, shown: bool = True) -> Iterator[Display]:
    """A display for ``total`` iterations.

    Args:
        shown: show nothing if not.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if not shown:
        yield Lines(total, None)
    elif console.is_terminal:
        yield from _bar(name, total, console)
    else:
        yield Lines(total, console)


class Lines:
    """``step 100/2000  8.9 it/s  eta 3:33  D 0.61  G 23.4``; with no console, nothing."""

    def __init__(self, total: int, console: Any) -> None:
        self.total, self.done, self.console = total, 0, console
        self.pace = Pace()

    def advance(self, count: int = 1) -> None:
        self.done += count
        self.pace.done += count - 1

    def report(self, values: Mapping[str, float], *, updates: Collection[str]) -> None:
        rate = self.pace.rate(self.done)
        eta = clock((self.total - self.done) / rate) if rate else "?"
        self.say(f"step {self.done}/{self.total}  {rate:.3g} it/s  eta {eta}  {losses(values)}")

    def say(self, line: str) -> None:
        if self.console is not None:
            # markup would swallow [brackets]; a pipe is read line by line
            self.console.print(line, markup=False)
            self.console.file.flush()


class Bar:
    """A rich progress bar: iterations, rate, time left, the losses of the updates; what fits in 80 columns."""

    def __init__(self, progress: Any, task: Any, total: int) -> None:
        self.progress, self.task = progress, task
        self.total, self.done, self.pace = total, 0, Pace()
        self.next = 0.0

    def advance(self, count: int = 1) -> None:
        self.done += count
        self.pace.done += count - 1
        now = time.monotonic()
        if now >= self.next or self.done == self.total:
            self.next = now + REFRESH
            self.progress.update(self.task, completed=self.done)

    def report(self, values: Mapping[str, float], *, updates: Collection[str]) -> None:
        rate = self.pace.rate(self.done)
        eta = clock((self.total - self.done) / rate) if rate else "?"
        shown = losses({name: value for name, value in values.items() if name in updates}, digits=3)
        self.progress.update(self.task, completed=self.done, rate=f"{rate:.3g} it/s", eta=f"eta {eta}", losses=shown)

    def say(self, line: str) -> None:
        self.progress.console.print(line, markup=False)


class Pace:
    """Iterations per second since the last question."""

    def __init__(self) -> None:
        self.done, self.time = 0, time.monotonic()

    def rate(self, done: int) -> float:
        now = time.monotonic()
        rate = (done - self.done) / max(now - self.time, 1e-9)
        self.done, self.time = done, now
        return rate


def _bar(name: str, total: int, console: Any) -> Iterator[Display]:
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    fields = [f"{{task.fields[{name}]}}" for name in ("rate", "eta", "losses")]
    texts = ["{task.completed:.0f}/{task.total:.0f}", *fields]
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        *(TextColumn(text, table_column=Column(no_wrap=True)) for text in texts),
    )
    with Progress(*columns, console=console, refresh_per_second=1 / REFRESH, expand=True) as progress:
        task = progress.add_task(name, total=total, rate="", eta="", losses="")
        yield Bar(progress, task, total)


def losses(values: Mapping[str, float], *, digits: int = 4) -> str:
    """``D 0.61  G 23.4``."""
    return "  ".join(f"{name} {value:.{digits}g}" for name, value in values.items())


def clock(seconds: float) -> str:
    """``3:33`` or ``2:03:04``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
