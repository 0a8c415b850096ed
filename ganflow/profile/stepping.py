"""A step that says what it is doing, to torch's profiler, and the batches that two steps share.

step = ProfiledStep(experiment, batches)
step.timed = True                     # from now on everything that takes time is in a range; the numbers stay the same
step()
step.labels["D: fake_B"]              # ('D', 'fake_B')
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from ganflow.codegen import generate
from ganflow.experiment import Experiment
from ganflow.running import compile_step
from ganflow.scheduler import plan
from ganflow.step import TrainStep, clear_gradients, namespace

DATA = ("", "data")
HELD = 64  # batches that one step has read and the other has not: the rest is forgotten


class ProfiledStep(TrainStep):
    """A step with ranges that can be switched on.

    Args:
        textbook: without freezing, as in ``codegen.generate``.

    Attributes:
        timed: put what takes time into ranges.
        labels: name of a range -> (phase, what).
        waited: seconds for batches, since somebody set it to 0.
        ran: the conditions of the last iteration, as far as they were known before it.
    """

    def __init__(self, experiment: Experiment, batches: Any, *, textbook: bool = False, **given: Any) -> None:
        super().__init__(experiment, batches, **given)
        self.textbook, self.timed, self.waited = textbook, False, 0.0
        self.labels: dict[str, tuple[str, str]] = {}
        self.ran: Mapping[str, bool] = {}
        self.phases = {u.name: phase.name for phase in self.graph.walk() for u in phase.updates}
        self._written: dict[tuple[tuple[bool, ...], bool], Callable[..., dict[str, Any]]] = {}

    def _variant(self, active: Mapping[str, bool], *, observed: bool) -> Callable[..., dict[str, Any]]:
        self.ran = dict(active)
        if not (self.timed or self.textbook):
            return super()._variant(active, observed=observed)
        key = (tuple(active.values()), self.timed)
        if key not in self._written:
            graph = self.graph if all(active.values()) else plan(self.graph, active)
            source = generate(graph, textbook=self.textbook, timed=self.timed)
            space = namespace(self) | {
                "timed": self.range,
                **({"clear_gradients": self.clear} if self.textbook else {}),
            }
            self._written[key] = compile_step(graph, source, space)
        return self._written[key]

    def prepare(self) -> None:
        """Write what the next iteration runs, as far as that is known, so that it is no part of its time."""
        self._variant(self._active(self.counters) if self.graph.active else {}, observed=False)

    def clear(self, optimizer: torch.optim.Optimizer) -> None:
        """After the last step of a phase all gradients go: a textbook pass has also reached what others train."""
        key = next(k for k, o in self.optimizers.items() if o is optimizer)
        last = all(key == phase.steps[-1] for phase in self.graph.walk() if key in phase.steps)
        for each in self.optimizers.values() if last else [optimizer]:
            clear_gradients(each)

    def range(self, phase: str, what: str) -> record_function:
        """``with step.range("D", "fake_B"):``, what the generated step calls."""
        phase = self.phases.get(phase, phase)
        label = f"{phase}: {what}" if phase else what
        self.labels[label] = phase, what
        return record_function(label)

    def _next_batch(self, first: bool = False) -> dict[str, Tensor]:
        start = time.perf_counter()
        if self.timed:
            with self.range(*DATA):
                found = super()._next_batch(first)
        else:
            found = super()._next_batch(first)
        self.waited += time.perf_counter() - start
        return found


class Tape:
    """Batches that two steps read in turn, each all of them: ``Tape(loader).reader(0)`` and ``.reader(1)``."""

    def __init__(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        self.source = self._endless(batches)
        self.held: tuple[deque[Mapping[str, Tensor]], ...] = (deque(maxlen=HELD), deque(maxlen=HELD))

    def reader(self, number: int) -> Iterator[Mapping[str, Tensor]]:
        """From the next batch that it has not had."""
        own = self.held[number]
        while True:
            if not own:
                self.fill()
            if not own:
                return
            yield own.popleft()

    def fill(self) -> None:
        """Read a batch ahead, for both."""
        batch = next(self.source, None)
        for held in self.held if batch is not None else ():
            held.append(batch)

    @staticmethod
    def _endless(batches: Iterable[Mapping[str, Tensor]]) -> Iterator[Mapping[str, Tensor]]:
        found = True
        while found:
            found = False
            for batch in batches:
                found = True
                yield batch
