"""A run directory -> what a report says of it. Nothing of the run is executed: its files are read as text.

run = read(Path("runs/pix2pix"))
run.rows, run.settings["steps"], run.networks          # [{...}, ...], 3500, {'G': '7.31 M', 'D': '0.70 M'}
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ganflow import rundir
from ganflow.diagnosis import by_step
from ganflow.display import clock
from ganflow.errors import GanflowError

METRICS, SAMPLES, PROBE, WEIGHTS = "metrics.jsonl", "samples", "probe.txt", "weights.pt"
_HEAD = re.compile(
    r"^(?:update|group) \(?([^()]*?)\)?(?:, (?:runs? \d|on a new batch|each|in \d).*?)?   trains ([^ ].*?)(?:   .*)?$"
)
_SETTING = re.compile(r"^Trainer\.(\w+) = (.+)$", re.M)
_COUNT = re.compile(r"(\S+) ([\d.]+ [kMG])")


@dataclass(frozen=True)
class RunData:
    """What is known of a run.

    Args:
        name, path: of its directory.
        files: what it started with.
        rows: what was logged, one for each step.
        started, ended: by the clock of the machine; the end is when it logged last.
        running: a process is still at it.
        settings: ``Trainer`` bindings that are plain values.
        networks: name -> parameters as text, in order of declaration; ``updates``: name -> networks that it trains.
        pictures: (step, file).
        probe: the matrix as text.
    """

    name: str
    path: Path
    files: rundir.RunFiles
    rows: Sequence[Mapping[str, float]]
    started: datetime
    ended: datetime
    running: bool
    settings: Mapping[str, Any]
    networks: Mapping[str, str]
    updates: Mapping[str, tuple[str, ...]]
    pictures: Sequence[tuple[int, Path]]
    probe: str

    @property
    def step(self) -> int:
        """The last one that was logged."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def state(self) -> str:
        """``finished``, ``still running``, ``interrupted`` or, where the number of steps is not known, ``ended``."""
        if self.running:
            return "still running"
        steps = self.settings.get("steps")
        if not isinstance(steps, int) or self.settings.get("epochs") is not None:
            return "ended"
        return "finished" if self.step >= steps else "interrupted"

    @property
    def seconds(self) -> float:
        return max(0.0, (self.ended - self.started).total_seconds())

    @property
    def took(self) -> str:
        return clock(self.seconds)


def read(path: Path) -> RunData:
    """Everything that lies there.

    Raises:
        GanflowError: ``not-a-run``: no run, or one of its files is damaged.
    """
    files = rundir.load(path)
    if not isinstance(files.environment, dict):
        raise _damaged(path, rundir.ENVIRONMENT, "it holds no object")
    rows = _rows(path / METRICS)
    began = (path / rundir.ENVIRONMENT).stat().st_mtime
    last = (path / METRICS).stat().st_mtime if (path / METRICS).exists() else began
    updates = _updates(files.plan)
    return RunData(
        path.absolute().name, path, files, rows, _started(files.environment, began),
        datetime.fromtimestamp(last, tz=timezone.utc), rundir.is_in_use(path), _settings(files.config),
        _networks(files.plan, updates), updates, _pictures(path / SAMPLES), _text(path / PROBE),
    )  # fmt: skip


def _started(environment: Mapping[str, Any], otherwise: float) -> datetime:
    try:
        found = datetime.fromisoformat(environment["started"])
        return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    except (KeyError, TypeError, ValueError):
        return datetime.fromtimestamp(otherwise, tz=timezone.utc)


def _rows(path: Path) -> list[dict[str, float]]:
    """One for each step; a last line that is still being written is none yet."""
    if not path.exists():
        return []
    found = []
    lines = _bytes(path).split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append({"step": operator.index(row.pop("step")), **{k: float(v) for k, v in row.items()}})
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            if number == len(lines):
                break
            raise _damaged(path.parent, METRICS, f"line {number} is no row of numbers") from error
    return by_step(found)


def _settings(config: str) -> dict[str, Any]:
    found = {}
    for name, text in _SETTING.findall(config):
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue  # a reference, or a value of several lines
    return found


def _updates(plan: str) -> dict[str, tuple[str, ...]]:
    """Update -> networks, of the heads in the plan; the members of a group share theirs."""
    found: dict[str, tuple[str, ...]] = {}
    for line in plan.splitlines():
        if match := _HEAD.match(line):
            trained = tuple(dict.fromkeys(n.split(".")[0] for n in match[2].split(", ")))
            names = match[1].split(", ")
            for name in names:
                own = tuple(n for n in trained if n == name)  # of a group, each its own where the names say so
                found.setdefault(name, own if len(names) > 1 and own else trained)
    return found


def _networks(plan: str, updates: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Name -> parameters, in the order in which every picture gives them their colours."""
    line = next((x for x in reversed(plan.splitlines()) if x.startswith("parameters: ")), "")
    found = dict(_COUNT.findall(line.removeprefix("parameters: ")))
    return found or dict.fromkeys((n for trained in updates.values() for n in trained), "")


def _pictures(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    return sorted((int(p.stem), p) for p in folder.iterdir() if p.suffix == ".png" and p.stem.isdigit())


def _text(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        return _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(path.parent, path.name, "it is no text") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path.parent, path.name, error.strerror or str(error)) from error


def _damaged(run: Path, name: str, why: str) -> GanflowError:
    return GanflowError(f"{run} is damaged: {name} cannot be read ({why})", code="not-a-run",
                        hint="give the directory that `ganflow run` made; a copy may be cut short")  # fmt: skip
