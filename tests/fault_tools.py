"""Runs in processes of their own that are killed, and everything that a run leaves, to be compared bit for bit.

A process is forked from this one, which has imported all there is to import: a run takes a second, not five.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

import ganflow
from ganflow.errors import GanflowError
from ganflow.store import Store
from ganflow.trainer import Trainer

CONFIG = Path(__file__).parent / "faulty" / "run.gin"
TIMES = ("time/", "seconds", "started")


@cache
def experiment(*overrides: str) -> Any:
    """The experiment in `faulty/run.gin`."""
    return ganflow.load(CONFIG, list(overrides))


def fit(run: Path, *overrides: str, **options: Any) -> None:
    """A run, from where it is to its end."""
    Trainer(experiment(*overrides), run, **{"resume": True, **options}).fit()


# -- processes --------------------------------------------------------------------------------------------------


@dataclass
class Child:
    """A process forked from this one, and the file that its output goes to."""

    pid: int
    output: Path

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> bool:
        """SIGKILL; False if it was done before."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            os.kill(self.pid, signal.SIGKILL)
            pid, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -9), f"status {code}: {self.said()}"
        return code == -9

    def wait_for_kill(self) -> bool:
        """It kills itself; False if it came to its end before."""
        code = self.wait()
        assert code in (0, -9), f"status {code}: {self.said()}"
        return code == -9

    def wait(self, seconds: float = 120) -> int:
        """Its exit status, -9 for a signal."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"it did not end:\n{self.said()}")

    def said(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""


def forked(output: Path, action: Callable[[], object]) -> Child:
    """``action()`` in a process and a group of its own; its errors are told as the command line tells them."""
    experiment()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Child(pid, output)
    status = 99
    try:
        os.setpgid(0, 0)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1), os.dup2(descriptor, 2)
        sys.stdout = sys.stderr = os.fdopen(descriptor, "w", buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = _status(action)
        sys.stdout.flush()
    finally:
        os._exit(status)


def _status(action: Callable[[], object]) -> int:
    try:
        from ganflow.cli.app import terminated

        with terminated():
            action()
    except GanflowError as error:
        print(error)
        return error.status
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return 99
    return 0


def to_the_end(run: Path, *overrides: str, **options: Any) -> str:
    """Run it, or go on with it; what it said."""
    child = forked(run.parent / f"{run.name}.out", lambda: fit(run, *overrides, **options))
    status = child.wait()
    assert status == 0, child.said()
    return child.said()


def eventually(get: Callable[[], Any], seconds: float = 60) -> Any:
    """The first value of ``get()`` that is true."""
    until = time.monotonic() + seconds
    while not (found := get()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.002)
    return found


# -- what a run leaves ------------------------------------------------------------------------------------------


def left(run: Path) -> dict[str, Any]:
    """All of it that does not depend on the clock, as plain values that can be compared."""
    store = Store(run / "checkpoints")
    last = store.steps()[-1]
    return {
        "checkpoint": bits(store.read(last)),
        "metrics of the checkpoint": store.metrics(last),
        "best": store.best("l1", larger=False),
        "weights": bits(torch.load(run / "weights.pt", weights_only=True)),
        "jsonl": [without_times(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()],
        "csv": table(run / "metrics.csv"),
        "samples": {path.name: path.read_bytes() for path in sorted((run / "samples").iterdir())},
        "board": board(run),
        "texts": {name: (run / name).read_text() for name in ("config.gin", "plan.txt", "step.py", "probe.txt")},
        "names": sorted(path.name for path in run.iterdir() if not path.name.startswith("events.")),
        "half written": [str(path) for path in run.rglob("*.writing-*")],
    }


def first_difference(a: Any, b: Any, place: str = "") -> str:
    """Where two of these differ; nothing where they are the same."""
    if type(a) is type(b) and isinstance(a, dict) and list(a) == list(b):
        return next((d for k in a if (d := first_difference(a[k], b[k], f"{place}/{k}"))), "")
    if type(a) is type(b) and isinstance(a, (list, tuple)) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return next((d for i, (x, y) in pairs if (d := first_difference(x, y, f"{place}[{i}]"))), "")
    return "" if a == b else f"{place}: {str(a)[:300]} != {str(b)[:300]}"


def bits(value: Any) -> Any:
    """Numbers by their bytes: NaN is NaN, and 0.0 is not -0.0."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    if isinstance(value, Mapping):
        return {k: bits(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, (list, tuple)):
        return type(value)(bits(v) for v in value)
    return repr(value)


def without_times(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in row.items() if not name.startswith(TIMES)}


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return [without_times(row) for row in csv.DictReader(file)]


def board(run: Path) -> dict[str, list[Any]]:
    """What TensorBoard reads, by tag: (step, value) in the order in which they stand."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = dict.fromkeys(("scalars", "images", "histograms", "tensors", "compressedHistograms"), 0)
    events = EventAccumulator(str(run), size_guidance=sizes)
    events.Reload()
    tags = events.Tags()
    found: dict[str, list[Any]] = {}
    for tag in tags["scalars"]:
        found[tag] = [(e.step, repr(e.value)) for e in events.Scalars(tag)]
    for tag in tags["images"]:
        found[tag] = [(e.step, e.encoded_image_string) for e in events.Images(tag)]
    for tag in tags["histograms"]:
        found[tag] = [(e.step, repr(e.histogram_value)) for e in events.Histograms(tag)]
    for tag in tags["tensors"]:
        found[tag] = [(e.step, e.tensor_proto.SerializeToString()) for e in events.Tensors(tag)]
    kept = {tag: found[tag] for tag in sorted(found) if not tag.startswith(("time/", "environment"))}
    for tag, entries in kept.items():
        steps = [entry[0] for entry in entries]
        assert steps == sorted(set(steps)), f"{tag} stands twice: {steps}"
    return kept
