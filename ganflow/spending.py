"""What each value of a step costs, told by the step as it runs on meta tensors: FLOPs and bytes, forward and backward.

    ledger = Ledger(graph, counter, kept=parameters)
    with counter, ledger:
        ... the step runs with `observe` = ledger.observe ...
    ledger.spent["D", "fake_B"]       # Spent(runs=1, forward=759_000_000, ..., value=196_608, kept=6_000_000)

Each FLOP of a backward pass counts for the value whose forward made the operation, in the update that passes through:
autograd numbers its nodes as they are made, so the numbers between two values say whose they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ganflow.graph import StepGraph
from ganflow.meta import Flops
from ganflow.printing import BEFORE_BACKWARD

Key = tuple[str, str]


@dataclass(frozen=True)
class Spent:
    """What one value costs in one phase of an iteration.

    Args:
        runs: how often it is evaluated: in each repeat, for each part of a batch.
        forward, backward: FLOPs of all runs; backward only of the passes of this phase.
        value: bytes of the value itself, once, where no other value has held them before.
        kept: bytes that autograd holds for backward passes besides: no parameter, no buffer, no field of the batch,
            nothing that a value is or that counts elsewhere. Of the largest run.
    """

    runs: float = 0
    forward: float = 0
    backward: float = 0
    value: int = 0
    kept: int = 0


class Ledger(saved_tensors_hooks):
    """Told of every value and every backward pass of one iteration.

    Args:
        counter: counts FLOPs while the step runs.
        kept: tensors that are there anyway: parameters, buffers, the batch.
    """

    def __init__(self, graph: StepGraph, counter: Flops, kept: Iterable[Tensor]) -> None:
        super().__init__(self._save, lambda held: held)
        self.spent: dict[Key, Spent] = {}
        self.counter, self._seen = counter, 0
        self.phases = phase_names(graph)
        self._held = {
            s._cdata: s for t in kept for s in (t.untyped_storage(),)
        }  # held, so that no number is used again
        self._saved: list[torch.UntypedStorage] = []
        self._ends: list[int] = []  # the number of the next node after each value, and whose they were
        self._makers: list[str] = []
        self._next, self._cost = ("", ""), Spent()  # what was evaluated last

    def observe(self, phase: str, node: str, value: Any) -> None:
        """What the step calls."""
        flops, self._seen = self.counter.total - self._seen, self.counter.total
        where = self.phases.get(phase, phase)
        if node == BEFORE_BACKWARD:  # what came last is the loss, which may have the name of a value that is there
            self._add((where, f"loss {phase}"))
            self.counter.by_node.clear()
        elif node == "backward":
            self._backward(where)
        else:
            self._add(self._next)
            own = self._new(t.untyped_storage() for t in tensors(value))
            self._next = where, node
            self._cost = Spent(1, flops, value=own, kept=self._new(self._saved))
            self._ends.append(torch._C._autograd._get_sequence_nr())
        self._saved.clear()

    def _add(self, key: Key) -> None:
        """What was evaluated last belongs to ``key``."""
        if len(self._makers) < len(self._ends):
            self._makers.append(key[1])
            new, old = self._cost, self.spent.get(key, Spent())
            self.spent[key] = replace(
                old, runs=old.runs + new.runs, forward=old.forward + new.forward,
                value=max(old.value, new.value), kept=max(old.kept, new.kept),
            )  # fmt: skip

    def _backward(self, phase: str) -> None:
        for number, flops in self.counter.by_node.items():
            place = bisect_left(self._ends, number + 1)
            if place < len(self._makers):
                key = phase, self._makers[place]
                found = self.spent.get(key, Spent())
                self.spent[key] = replace(found, backward=found.backward + flops)

    def __exit__(self, *error: object) -> None:
        self._add(self._next)
        super().__exit__(*error)

    def _save(self, tensor: Tensor) -> Tensor:
        self._saved.append(tensor.untyped_storage())
        return tensor.detach()  # an output that held itself would never be freed

    def _new(self, storages: Iterable[torch.UntypedStorage]) -> int:
        found = {s._cdata: s for s in storages if s._cdata not in self._held}
        self._held |= found
        return sum(s.nbytes() for s in found.values())


def mean_spent(iterations: Sequence[Mapping[Key, Spent]]) -> dict[Key, Spent]:
    """Runs and FLOPs per iteration; bytes of the iteration that has most of them."""
    found: dict[Key, Spent] = {}
    for key in dict.fromkeys(k for one in iterations for k in one):
        own, count = [one.get(key, Spent()) for one in iterations], len(iterations)
        found[key] = Spent(
            sum(s.runs for s in own) / count, sum(s.forward for s in own) / count, sum(s.backward for s in own) / count,
            max(s.value for s in own), max(s.kept for s in own),
        )  # fmt: skip
    return found


def phase_names(graph: StepGraph) -> dict[str, str]:
    """Update -> its phase, which in a group has another name."""
    return {u.name: phase.name for phase in graph.walk() for u in phase.updates}


def tensors(value: Any) -> Iterator[Tensor]:
    """Those in a value, which may be a list or a dict of them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
