"""kill -9 wherever it comes, and a run goes on as if nothing had been."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fault_tools import eventually, experiment, first_difference, fit, forked, left, to_the_end
from ganflow.saving import Saving
from ganflow.settings import settings_of
from ganflow.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of children that use no other thread
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "os.rmdir", "shutil.rmtree")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float, int]:
    """What an uninterrupted run leaves, its seconds, and how often it opens, renames or deletes a file of its own."""
    run = tmp_path_factory.mktemp("straight") / "run"
    fit(run, progress=False)  # in this process, so that what is forked from it has imported everything
    again, start = run.parent / "again" / "run", time.monotonic()
    again.parent.mkdir()
    to_the_end(again)
    seconds = time.monotonic() - start
    counts = run.parent / "counts"
    third = run.parent / "third"
    child = forked(run.parent / "out", lambda: (killed_at(0, third, counts), fit(third)))
    assert child.wait() == 0, child.said()
    assert first_difference(left(third), left(again)) == ""
    return left(again), seconds, counts.read_bytes().count(b"\n")


def killed_at(number: int, run: Path, counts: Path | None = None) -> None:
    """SIGKILL at the change of that number to a file of the run; 0: never."""
    seen = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or not arguments or not str(arguments[0]).startswith(str(run)):
            return
        if event == "open" and arguments[1] is not None and "r" in str(arguments[1]) and "+" not in arguments[1]:
            return
        seen[0] += 1
        if counts is not None:
            with open(counts, "ab") as file:
                file.write(f"{event} {arguments[0]}\n".encode())
        if seen[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def traced(trace: Path) -> None:
    """Write down which checkpoints were begun and done; what is written here outlives a SIGKILL."""

    def note(*words: object) -> None:
        with open(trace, "a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    save, write = Saving.save, Store.write

    def saved(self: Saving, *args: Any, **kwargs: Any) -> None:
        note("put", self.closure.step.counters.step)
        save(self, *args, **kwargs)

    def written(self: Store, step: int, *args: Any, **kwargs: Any) -> Path:
        path = write(self, step, *args, **kwargs)
        note("done", step)
        return path

    Saving.save, Store.write = saved, written  # type: ignore[method-assign]
    note("begin")


def check_after_a_kill(run: Path, trace: Path) -> None:
    """Nothing that was saved is lost, and no interval went by without a checkpoint."""
    words = [line.split() for line in trace.read_text().splitlines()] if trace.exists() else []
    done = [int(w[1]) for w in words if w[0] == "done"]
    store = Store(run / "checkpoints")
    newest = next((step for step in store.latest() if store.is_whole(step)), 0)
    assert newest >= max(done, default=0), f"{newest} is left of {done}"
    begun = max((i for i, w in enumerate(words) if w[0] == "begin"), default=0)
    puts = [int(w[1]) for w in words[begun:] if w[0] == "put"]
    rows = run / "metrics.jsonl"
    steps = [json.loads(line)["step"] for line in rows.read_text().splitlines(True) if line.endswith("\n")] \
        if rows.exists() else []  # fmt: skip
    if puts:
        every = settings_of(experiment()).checkpoint_every
        assert all(b - a <= every for a, b in zip(puts, puts[1:], strict=False))
        assert steps[-1] - puts[-1] <= every, f"at {steps[-1]}, and the last checkpoint was that of {puts[-1]}"


def killed_again_and_again(
    folder: Path, kills: int, chance: random.Random, straight: tuple[dict[str, Any], float, int], *, by: str
) -> None:  # fmt: skip
    """Runs that are begun, killed, gone on with, killed ..., until that many kills happened; each ends as it should."""
    wanted, seconds, changes = straight
    done, number = 0, 0
    while done < kills:
        run, number = folder / f"run-{number}", number + 1
        trace = folder / f"{run.name}.trace"
        while done < kills:
            at = round(math.exp(chance.uniform(0, math.log(changes)))) if by == "change" else 0
            child = forked(folder / "out", _attempt(run, trace, at))
            if by == "change":
                if child.wait_for_kill():
                    done += 1
                else:
                    break
            else:
                time.sleep(chance.uniform(0, seconds))
                if not child.kill():
                    break
                done += 1
            check_after_a_kill(run, trace)
        to_the_end(run)
        assert first_difference(wanted, left(run)) == "", f"{run}"


def _attempt(run: Path, trace: Path, at: int) -> Callable[[], object]:
    def attempt() -> None:
        traced(trace)
        if at:
            killed_at(at, run)
        fit(run)

    return attempt


@pytest.mark.parametrize("by", ["time", "change"])
def test_a_run_that_is_killed_goes_on_bit_for_bit(tmp_path: Path, straight: Any, by: str) -> None:
    """A few of them; the slow test kills 200 times."""
    killed_again_and_again(tmp_path, 4, random.Random(by), straight, by=by)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("by", ["time", "change"])
def test_a_run_that_is_killed_200_times_goes_on_bit_for_bit(tmp_path: Path, straight: Any, by: str, part: int) -> None:
    killed_again_and_again(tmp_path, 25, random.Random(f"{by} {part}"), straight, by=by)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_at_any_moment_ends_it_in_order(tmp_path: Path, straight: Any, number: int, status: int) -> None:
    """During start-up, a checkpoint, an evaluation, a resume: the status says so, and nothing saved is lost."""
    wanted, seconds, _ = straight
    chance, sent, runs = random.Random(number), 0, 0
    while sent < 15:
        run, runs = tmp_path / f"run-{runs}", runs + 1
        trace, found = tmp_path / f"{run.name}.trace", status
        while found and sent < 15:
            trace.unlink(missing_ok=True)
            child = forked(tmp_path / f"{run.name}.out", _attempt(run, trace, 0))
            eventually(trace.exists)
            time.sleep(chance.uniform(0, seconds))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
                sent += 1
            found = child.wait()
            assert found in (0, status) and "Traceback" not in child.said(), (found, child.said())
        to_the_end(run)
        assert first_difference(wanted, left(run)) == "", f"{run}"
