"""How far all runs together are: a bar in a terminal, lines in a pipe.

with progress(work) as shown:
    shown.begins(run, state); shown.update({run: text}); shown.ends(run, "")
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ganflow.ablation.data import Run
from ganflow.ablation.shown import console
from ganflow.ablation.states import State
from ganflow.display import clock

EVERY = 30.0  # seconds between two lines in a pipe
_STEP = re.compile(r"^step (\d+)/(\d+) ", re.M)
_BEGINS = re.compile(r": (\d+) iterations on |: goes on after step (\d+) of (\d+) on ", re.M)


@dataclass(frozen=True)
class Work:
    """What is to be done: the iterations of each run that are left, and what one of them costs.

    Args:
        left: run -> iterations; None where only its data know.
        weight: run -> FLOPs of an iteration, or 1 where nothing is known of any.
    """

    left: Mapping[Run, int | None]
    weight: Mapping[Run, float]


def steps_in(text: str) -> tuple[int, int | None]:
    """(done, total) by what a run has printed; a total of None before it has said it."""
    if found := _STEP.findall(text):
        return int(found[-1][0]), int(found[-1][1])
    if begun := _BEGINS.search(text):
        return int(begun[2] or 0), int(begun[1] or begun[3])
    return 0, None


class Shown:
    """What is told of the runs; lives as long as they run."""

    def __init__(self, work: Work, out: Any, bar: Any = None, *, clock_: Any = time.monotonic) -> None:
        self.work, self.out, self.bar, self.clock = work, out, bar, clock_
        self.start = self.told = clock_()
        self.from_step: dict[Run, int] = {}
        self.steps: dict[Run, int] = {}
        self.totals: dict[Run, int] = {}
        self.over: set[Run] = set()

    def begins(self, run: Run, state: State) -> None:
        self.from_step[run] = self.steps[run] = state.step
        how = f"goes on after step {state.step}" if state.kind == "begun" and state.step else "begins"
        self.say(f"{run}: {how}")

    def ends(self, run: Run, failed: str) -> None:
        self.over.add(run)
        rest = sum(r not in self.over for r in self.work.left)
        self.say(f"{run}: failed\n{_indented(failed)}" if failed else f"{run}: done; {rest} to go, {self.eta()}")

    def stops(self, run: Run) -> None:
        self.say(f"{run}: stopped; it goes on from its last checkpoint")

    def update(self, texts: Mapping[Run, str]) -> None:
        """What the runs that are on their way have printed."""
        for run, text in texts.items():
            done, total = steps_in(text)
            self.steps[run] = max(self.steps[run], done)
            if total is not None:
                self.totals[run] = total
        if self.bar is not None:
            self.bar(self)
        elif self.clock() - self.told >= EVERY:
            self.told = self.clock()
            now = ", ".join(f"{r} {self.steps[r]}/{self.totals.get(r, '?')}" for r in texts)
            self.say(f"{len(self.over)}/{len(self.work.left)} runs done; {now}; {self.eta()}")

    def done_and_left(self) -> tuple[float, float]:
        """In FLOPs, or iterations where those are not known. A failed run leaves nothing to be done."""
        done = left = 0.0
        for run, rest in self.work.left.items():
            weight = self.work.weight[run]
            gone = self.steps.get(run, 0) - self.from_step.get(run, 0)
            whole = rest if rest is not None else self.totals.get(run, 0) - self.from_step.get(run, 0)
            done += weight * (whole if run in self.over else gone)
            left += 0.0 if run in self.over else weight * max(0, whole - gone)
        return done, left

    def eta(self) -> str:
        """By the work that is done; processes that just start have not shown how fast they are."""
        done, left = self.done_and_left()
        return f"eta {clock((self.clock() - self.start) * left / done)}" if done else "eta ?"

    def say(self, line: str) -> None:
        self.out.print(line, markup=False, soft_wrap=True)
        self.out.file.flush()


def _indented(text: str) -> str:
    return "\n".join(f"  {row}" for row in text.split("\n"))


@contextlib.contextmanager
def progress(work: Work) -> Iterator[Shown]:
    """A bar over all runs in a terminal, lines elsewhere."""
    out = console()
    if not out.is_terminal:
        yield Shown(work, out)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[eta]}"))
    with Progress(*columns, console=out, expand=True) as bar:
        task = bar.add_task("runs", total=1.0, eta="")

        def draw(shown: Shown) -> None:
            done, left = shown.done_and_left()
            many = f"{len(shown.over)}/{len(work.left)} runs"
            bar.update(task, description=many, completed=done / (done + left or 1), eta=shown.eta())

        yield Shown(work, bar.console, draw)
