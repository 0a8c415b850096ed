"""An iteration that went wrong, run again with a look at every operation.

    print(replay("runs/pix2pix", 123))

It begins with the state, the draws and the batch that the run's iteration began with, which the run has kept in
``nonfinite/000123.pt``; the dataset is not needed. What the run's files are is not changed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ganflow import rundir
from ganflow.births import Birth, Births
from ganflow.checkpoint import Store
from ganflow.closure import Closure
from ganflow.config import load
from ganflow.errors import GanflowError
from ganflow.nonfinite import Finder, Found
from ganflow.rescue import NONFINITE
from ganflow.settings import settings_of
from ganflow.step import TrainStep
from ganflow.trainer import choose_device

SHOWN = 5  # operations that are listed


@dataclass(frozen=True)
class Replayed:
    """What came of it.

    Args:
        iteration: which was run.
        then: what the run found.
        now: what was found this time; None where everything was finite.
        births: the operations that made something not finite, in order.
        anomaly: what torch's anomaly detection said.
    """

    iteration: int
    then: Found
    now: Found | None
    births: Sequence[Birth]
    anomaly: str
    lines: Mapping[str, str]

    def __str__(self) -> str:
        """In words."""
        head = [str(self.now or self.then)]
        if self.now is None:
            head = [
                f"the run found: {self.then}",
                "run again, everything is finite: its device does not repeat numbers",
            ]
        elif self.now.location:
            head += [f"  {self.now.location}", *self.now.location.excerpt().splitlines()]
        if self.now is not None and self.now.first:
            head.append(f"  the first on the way to it: {self.now.first}")
        rows = [line for birth in self.telling() for line in self.told(birth)]
        return "\n".join([*head, *rows, *([f"anomaly detection: {self.anomaly}"] if self.anomaly else [])])

    def telling(self) -> list[Birth]:
        """Of all operations those of the value, or of the backward pass, that was found; else all."""
        found = self.now
        if found is None:
            return list(self.births[:SHOWN])
        if found.kind == "gradient":
            own = [b for b in self.births if b.backward[0] == found.update]
        else:
            own = [b for b in self.births if b.node == found.node and not b.backward[0]]
        return (own or list(self.births))[:SHOWN]

    def told(self, birth: Birth) -> list[str]:
        """One operation in lines."""
        back = f", the backward pass of update {birth.backward[0]}" if birth.backward[0] else ""
        where = f" of network {birth.module}" if birth.module and "." not in birth.module else ""
        where = where or (f" of {birth.module}" if birth.module else "")
        lines = [f"{birth.op}{f' in {birth.backward[1]}' if birth.backward[1] else ''}{where} made {birth.value}{back}"]
        if birth.node:
            lines.append(f"  for  {self.lines.get(birth.node, birth.node)}")
        lines += [f"  from {birth.given}"] if birth.given else []
        lines += [f"  at   {birth.place}"] if birth.place else []
        return lines


def replay(run: str | Path, step: int | None = None, *, device: str = "auto") -> Replayed:
    """Run the kept iteration again.

    Args:
        step: which one; by default the last that was kept.

    Raises:
        GanflowError: ``no-bundle``, ``bad-checkpoint``, ``not-a-run``, ``other-state``.
    """
    files = rundir.load(run)
    store = Store(files.path / NONFINITE)
    kept = store.steps()
    if not kept or (step is not None and step not in kept):
        raise _not_kept(files.path, step, kept)
    payload = store.read(step if step is not None else kept[-1])
    experiment = replace(load(files.path / rundir.CONFIG), name=files.path.absolute().name)
    settings = settings_of(experiment)
    place = choose_device(device if device != "auto" else str(files.environment.get("device", "auto")))
    skip = settings.on_nonfinite == "skip"
    per_epoch = payload["data"]["batches"]
    made = TrainStep(experiment, payload["batch"], device=place, batches_per_epoch=per_epoch, skip_nonfinite=skip,
                     cut_norms=False)  # fmt: skip
    closure = Closure(made)
    closure.restore(payload["state"])
    found = looked_at(made, Found(**payload["found"]))
    closure.restore(payload["state"])
    return replace(found, anomaly=anomaly(made))


def _not_kept(path: Path, step: int | None, kept: Sequence[int]) -> GanflowError:
    which = f"iteration {step}" if step is not None else "no iteration"
    return GanflowError(
        f"{which} of {path} was {'not ' if step is not None else ''}kept", code="no-bundle",
        hint=f"there is: {', '.join(map(str, kept))}" if kept else
        "a run keeps the first iteration in which a loss, a gradient or a weight was not finite",
    )  # fmt: skip


def looked_at(step: TrainStep, then: Found) -> Replayed:
    """One iteration of a step that is as it was before it."""
    finder, births = Finder(step), Births(step)

    def observe(phase: str, node: str, value: Any) -> None:
        births.observe(phase, node, value)
        finder.observe(phase, node, value)

    with births:
        logs = step(observe=observe)
    nodes = step.graph.nodes
    lines = {i: f"{n.location}: {n.name} = {n.text}" if n.name else f"{n.location}: {n.text}" for i, n in nodes.items()}
    return Replayed(finder.iteration, then, finder.found(logs), births.found, "", lines)


def anomaly(step: TrainStep) -> str:
    """What torch's anomaly detection says of it; nothing where no NaN comes up in a backward pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the forward pass that it is about, as a traceback: it is said in our words
        try:
            with torch.autograd.set_detect_anomaly(True):
                step()
        except Exception as error:
            if "returned nan values" not in str(error):
                raise
            return str(error.__cause__ or error).strip().split("\n")[0]
    return ""
