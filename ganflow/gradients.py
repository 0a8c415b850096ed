"""Gradients of single terms, taken while a generated step runs.

recorder = Recorder(graph, step.networks)
... the step runs with `observe` = recorder.observe ...
recorder.found["G", "G_GAN"]          # one Gradient, or None, for each of recorder.parameters
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganflow.errors import GanflowError
from ganflow.gradcut import cut
from ganflow.graph import StepGraph, Term
from ganflow.printing import BEFORE_BACKWARD
from ganflow.traits import Traits


@dataclass(frozen=True)
class Gradient:
    """The gradient of one parameter: its largest absolute number, which tells an exact zero, and its 2-norm."""

    largest: float
    norm: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.largest)


class Recorder:
    """Told of every value and every backward pass, it differentiates the terms.

    Attributes:
        parameters, names: every parameter of every network once, and the names that networks have for it.
        found: (update, term) -> gradients, in the order of the parameters.
        cuts: (update, term, network) -> the node inside which the gradient stops, and the module if it is known, for
            those in ``trace``.
        lost: where modules say that they cut; see ``gradcut.watched``.
        traits: what the values showed of themselves; ``lows``: the smallest number of each field.
    """

    def __init__(
        self, graph: StepGraph, networks: Mapping[str, nn.Module], trace: Set[tuple[str, str, str]] = frozenset()
    ) -> None:
        held: dict[int, tuple[nn.Parameter, dict[str, str]]] = {}
        for network, module in networks.items():
            for name, p in module.named_parameters():
                held.setdefault(id(p), (p, {}))[1][network] = name
        self.parameters = [p for p, _ in held.values()]
        self.names = [names for _, names in held.values()]
        self.found: dict[tuple[str, str], list[Gradient | None]] = {}
        self.cuts: dict[tuple[str, str, str], tuple[str, str]] = {}
        self.lost: list[str] = []
        self.losers: dict[str, str] = {}  # node -> the innermost module that cut while it was evaluated
        self.graph, self.trace = graph, trace
        self.updates = {u.name: u for u in graph.updates}
        self.terms = {t.node for u in graph.updates for t in u.terms}
        self.values: dict[str, Any] = {}
        self.seen: Counter[str] = Counter()
        self.traits = Traits()
        self.lows: dict[str, float] = {}

    def observe(self, phase: str, node: str, value: Any) -> None:
        """What generated code calls."""
        if node == BEFORE_BACKWARD:
            self.before_backward(phase, value)
        else:
            self.traits.see(node, value)
            if node in self.terms or self.trace:
                self.values[node] = value
                self.losers[node] = self.lost[0] if self.lost else ""
        self.lost.clear()

    def before_backward(self, update: str, loss: Any) -> None:
        """Measure, in the first run, every part of the batch."""
        plan = self.updates[update]
        self.seen[update] += 1
        if self.seen[update] <= plan.microbatches:
            for term in plan.terms:
                self.measure(update, term)
        if isinstance(loss, Tensor) and loss.is_floating_point() and not loss.requires_grad:
            loss.requires_grad_()  # nothing of it has a gradient: that will be said; the iteration goes on

    def measure(self, update: str, term: Term) -> None:
        value = self.values.get(term.node)
        try:
            found = gradients(value, self.parameters)
            for key in sorted(k for k in self.trace if k[:2] == (update, term.name)):
                where = cut(self.graph.nodes, term.node, key[2], self.values)
                self.cuts.setdefault(key, (where, self.losers.get(where, "")))
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            node = self.graph.nodes[term.node]
            raise GanflowError(
                f"term {term.name} of update {update} cannot be differentiated: {str(error).splitlines()[0]}",
                location=node.location, code="gradient",
            ) from error  # fmt: skip
        before = self.found.get((update, term.name))
        self.found[update, term.name] = found if before is None else list(map(_larger, before, found))


def gradients(value: Any, parameters: Sequence[nn.Parameter]) -> list[Gradient | None]:
    """Of a scalar, for each parameter; ``None`` where autograd knows of no way, which is not the same as zero."""
    found: list[Gradient | None] = [None] * len(parameters)
    if not isinstance(value, Tensor) or not value.requires_grad:
        return found
    places = [i for i, p in enumerate(parameters) if p.requires_grad]
    asked = [parameters[i] for i in places]
    if not asked:
        return found
    total = value.sum() if value.ndim else value
    grads = torch.autograd.grad(total, asked, retain_graph=True, allow_unused=True)
    there = [(i, g) for i, g in zip(places, grads, strict=True) if g is not None]
    for (i, _), gradient in zip(there, measured([g for _, g in there]), strict=True):
        found[i] = gradient
    return found


def measured(grads: Sequence[Tensor]) -> list[Gradient]:
    """Largest number and norm of each; the host waits once for each device."""
    devices: dict[torch.device, list[int]] = {}
    for i, g in enumerate(grads):
        devices.setdefault(g.device, []).append(i)
    found: dict[int, Gradient] = {}
    with torch.no_grad():
        for places in devices.values():
            sizes = torch.stack([_size(grads[i]) for i in places]).tolist()
            found |= {i: Gradient(largest, norm or largest) for i, (largest, norm) in zip(places, sizes, strict=True)}
    return [found[i] for i in range(len(grads))]


def _size(g: Tensor) -> Tensor:
    """Its largest absolute number, NaN where there is one, and its 2-norm, which may underflow."""
    values = g.coalesce().values() if g.is_sparse else g
    largest = values.abs().amax() if values.numel() else torch.zeros((), device=g.device)
    size = torch.stack([largest, torch.linalg.vector_norm(values).to(largest.dtype)])
    return size if g.device.type == "mps" else size.double()


def total(found: Iterable[Gradient]) -> float:
    """The 2-norm over several parameters."""
    return math.hypot(*(g.norm for g in found))


def _larger(a: Gradient | None, b: Gradient | None) -> Gradient | None:
    """Of two parts of a batch: what is there in one, or not finite in one, is so."""
    if a is None or b is None:
        return a or b
    if not (a.finite and b.finite):
        return b if a.finite else a
    return max(a, b, key=lambda g: g.largest)
