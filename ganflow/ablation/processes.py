"""Runs as processes of their own: a few at a time, one that fails stops no other, a signal reaches all of them.

outcome = run_all(todo, jobs=2, shown=shown)
outcome.failed                        # {run: what it said}
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ganflow.ablation.data import Run
from ganflow.ablation.progress import Shown
from ganflow.ablation.states import State
from ganflow.files import cannot_write
from ganflow.signals import deferred

POLL = 0.2  # seconds
LAST_WORDS = 12  # lines of a log, where nothing in it is an error of ganflow's
PATIENCE = 10.0  # seconds that a process has to end after the second signal


@dataclass(frozen=True)
class Job:
    """A run that is to be started.

    Args:
        state: of its directory now; ``threads``: that its process may use.
    """

    run: Run
    config: Path
    state: State
    threads: int


@dataclass
class Outcome:
    """How the runs ended: those that are done, and what the others said."""

    done: list[Run] = field(default_factory=list)
    failed: dict[Run, str] = field(default_factory=dict)


@dataclass(eq=False)
class _Child:
    job: Job
    process: Any
    log: IO[bytes]
    begins: int  # where in the log this process begins
    asked: bool = False  # to end


def cores() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def threads_for(jobs: int) -> int:
    """Of each process: the cores shared out, and no more than OMP_NUM_THREADS allows."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, cores() // jobs)
    return min(share, int(allowed)) if allowed.isdigit() and int(allowed) else share


def run_all(todo: Sequence[Job], *, jobs: int, shown: Shown) -> Outcome:
    """Run them in order, ``jobs`` at a time.

    Raises:
        KeyboardInterrupt, Terminated: after SIGINT or SIGTERM, when all processes have saved and ended.
    """
    waiting, running, outcome = list(todo), list[_Child](), Outcome()
    with deferred() as asked, _ended(running):
        while running or (waiting and not asked.to_end):
            while waiting and len(running) < jobs and not asked.to_end:
                running.append(_start(waiting.pop(0)))
                shown.begins(running[-1].job.run, running[-1].job.state)
            time.sleep(POLL)
            for child in [c for c in running if c.process.poll() is not None]:
                running.remove(child)
                _note(child, outcome, shown, stopped=asked.to_end)
            shown.update({c.job.run: _text(c) for c in running})
            if asked.to_end:
                _ask(running)
        if asked.to_end:
            raise asked.error()
    return outcome


def command_of(job: Job) -> list[str]:
    """As a user would type it."""
    run = job.run
    given = [word for line in run.overrides for word in ("--set", line)]
    where = ["--runs", str(run.path.parent), "--name", run.path.name, "--resume"]
    return [sys.executable, "-m", "ganflow", "run", str(job.config), *given, *where]


def _start(job: Job) -> _Child:
    threads = str(job.state.threads or job.threads)  # with others, what goes on would have other bits
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": threads}
    try:
        job.run.log.parent.mkdir(parents=True, exist_ok=True)
        log = open(job.run.log, "ab")  # noqa: SIM115 - closed when the process has ended
    except OSError as error:
        raise cannot_write(job.run.log, error, status=1) from error
    # in a session of its own, Ctrl-C reaches it through us alone, and once
    process = subprocess.Popen(command_of(job), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                               env=environment, start_new_session=True)  # fmt: skip
    return _Child(job, process, log, log.tell())


def _ask(running: list[_Child]) -> None:
    """Each once: the second time would end it without saving."""
    for child in (c for c in running if not c.asked):
        child.asked = True
        child.process.terminate()


@contextlib.contextmanager
def _ended(running: list[_Child]) -> Iterator[None]:
    """However this ends, no process is left behind."""
    try:
        yield
    finally:
        for child in running:
            child.process.terminate()
        for child in running:
            try:
                child.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            child.log.close()


def _note(child: _Child, outcome: Outcome, shown: Shown, *, stopped: bool) -> None:
    child.log.close()
    run, status = child.job.run, child.process.returncode
    if status == 0:
        outcome.done.append(run)
        shown.ends(run, "")
    elif stopped and status in (128 + signal.SIGTERM, -signal.SIGTERM):
        shown.stops(run)
    else:
        outcome.failed[run] = last_words(_text(child), status)
        shown.ends(run, outcome.failed[run])


def _text(child: _Child) -> str:
    """What this process has printed so far."""
    with open(child.job.run.log, "rb") as file:
        file.seek(child.begins)
        return file.read().decode("utf-8", "replace")


def last_words(text: str, status: int) -> str:
    """The message that a process ended with: from the last line with an error's code on."""
    rows = text.rstrip().split("\n")
    at = next((k for k in reversed(range(len(rows))) if "error[" in rows[k]), max(0, len(rows) - LAST_WORDS))
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return "\n".join([*rows[at:], f"({how})"]).strip()
