"""Where a loss or a gradient was not finite first: iterations run again, one by one, with a look at every value.

    finder = Finder(step)
    logs = step(observe=finder.observe)
    finder.found(logs)       # None, or Found(iteration=123, kind="term", update="D", name="D_real", value="nan", ...)

Slow, for the host waits for every value: it is used on iterations that are known to be bad. What is noticed without
waiting is in ``averages.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ganflow.errors import Location
from ganflow.graph import StepGraph, Term, UpdatePlan, ancestors
from ganflow.guard import all_finite
from ganflow.printing import AFTER_BACKWARD, BEFORE_BACKWARD
from ganflow.spending import tensors
from ganflow.step import BATCH, TrainStep


@dataclass(frozen=True)
class Found:
    """The first number of a run that was not finite and should have been.

    Args:
        iteration: in which it was made; from 1, as everything that is logged.
        kind: ``term`` of a loss, its ``weight``, the ``sum`` of terms that are finite, the ``gradient`` of a network,
            or a ``step``: weights that are not finite after a step with gradients that are.
        update: which update made it.
        name: of the term, or of the network.
        value: ``nan``, ``inf`` or ``-inf``.
        detail: the first parameter of a network, as ``layers.0.weight``.
        first: the first value on the way to a term that was not finite, as the plan writes it; empty where it is the
            term itself.
        node: the node of it.
        file, line, text: where the term, the update or that value is written.
        field: of the batch, where the first value on the way is one.
        largest: network -> its largest weight at that moment.
    """

    iteration: int
    kind: str
    update: str
    name: str
    value: str
    detail: str = ""
    first: str = ""
    node: str = ""
    file: str = dataclasses.field(default="", compare=False)
    line: int = dataclasses.field(default=0, compare=False)
    text: str = dataclasses.field(default="", compare=False)
    field: str = ""
    largest: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def location(self) -> Location | None:
        """Where it is written."""
        return Location(self.file, self.line, text=self.text) if self.file else None

    def __str__(self) -> str:
        """``in iteration 123 `D_real`, a term of update D, is nan``."""
        said = {
            "term": f"the term `{self.name}` of update {self.update} is {self.value}",
            "weight": f"the weight of the term `{self.name}` of update {self.update} is {self.value}",
            "sum": f"the loss of update {self.update} is {self.value}, and each of its terms is finite",
            "gradient": f"the gradient of update {self.update} in network {self.name} is {self.value}",
            "step": f"a weight of network {self.name} is {self.value} after a step with finite gradients",
        }[self.kind]
        detail = f", first in {self.detail}" if self.detail else ""
        return f"in iteration {self.iteration} {said}{detail}"


@dataclass
class _Event:
    """Something that was not finite, when it was made."""

    kind: str
    update: UpdatePlan
    name: str = ""
    value: str = ""
    detail: str = ""
    terms: dict[str, str] = dataclasses.field(default_factory=dict)  # those that are known not to be finite
    unseen: list[Term] = dataclasses.field(default_factory=list)  # those that have no value of their own to be told of
    values: dict[str, str] = dataclasses.field(default_factory=dict)


class Finder:
    """Watches one iteration of a step."""

    def __init__(self, step: TrainStep) -> None:
        self.step, self.nodes = step, step.graph.nodes
        self.updates = {u.name: u for u in step.graph.updates}
        self.values: dict[str, str] = {}  # node -> what is wrong with it, in the order of evaluation
        self.told: set[str] = set()
        self.event: _Event | None = None
        self.iteration = step.counters.step + 1
        self.largest: dict[str, float] = {}

    def observe(self, phase: str, node: str, value: Any) -> None:
        """What generated code calls."""
        if node == BEFORE_BACKWARD:
            self.loss(self.updates[phase], value)
        elif node == AFTER_BACKWARD and phase != BATCH:
            self.gradients(self.updates[phase])
        else:
            self.told.add(node)
            self.values.pop(node, None)
            if what := wrong(value):
                self.values[node] = what

    def loss(self, update: UpdatePlan, value: Any) -> None:
        what = wrong(value)
        if what and not update.nan_to_num and self.step.guard is None:
            bad = {t.name: self.values[t.node] for t in update.terms if t.node in self.values}
            unseen = [t for t in update.terms if t.node not in self.told]
            self.add(_Event("loss", update, "", what, "", bad, unseen, dict(self.values)))

    def gradients(self, update: UpdatePlan) -> None:
        """Those that would spoil weights: what is mended, clipped to a value or skipped does not."""
        if update.nan_to_num or self.step.guard is not None:
            return
        for network in update.networks:
            for name, p in self.step.networks[network].named_parameters():
                what = wrong(p.grad) if any(p is q for q in self.step.parameters[update.name]) else ""
                if what and not (what != "nan" and update.clip_value is not None):
                    return self.add(_Event("gradient", update, network, what, name))

    def add(self, event: _Event) -> None:
        """What follows from the first one says nothing new."""
        if not self.event:
            self.event, self.largest = event, largest(self.step)

    def found(self, logs: Mapping[str, Any]) -> Found | None:
        """After the iteration, with what it returned: the first that was not finite, if anything was."""
        event = self.event
        if event is None:
            return self.weights()
        where = event.update.location
        if event.kind == "gradient":
            found = Found(self.iteration, "gradient", event.update.name, event.name, event.value, event.detail)
        else:
            found, where = self.term(event, logs)
        return replace(found, file=where.file, line=where.line, text=where.text, largest=self.largest)

    def term(self, event: _Event, logs: Mapping[str, Any]) -> tuple[Found, Location]:
        """Which term it is that makes a loss what it is."""
        update = event.update
        bad, terms = dict(event.terms), {t.name: t for t in update.terms}
        if not bad:  # what has no line of its own is known by what is logged of it
            bad = {t.name: what for t in event.unseen if (what := wrong(logs.get(f"loss/{t.name}")))}
        weights = {n: w for n in terms if (w := wrong(logs.get(f"weight/{n}")))}
        if bad:
            name = next(n for n in terms if n in bad)
            found = Found(self.iteration, "term", update.name, name, bad[name])
            return self.on_the_way(found, terms[name].node, event.values)
        if weights:
            name = next(iter(weights))
            factor = terms[name].factor
            where = self.nodes[factor].location if factor else update.location
            return Found(self.iteration, "weight", update.name, name, weights[name]), where
        return Found(self.iteration, "sum", update.name, "", event.value), update.location

    def on_the_way(self, found: Found, node: str, values: Mapping[str, str]) -> tuple[Found, Location]:
        """The value that was not finite before the term was."""
        where, made_of = self.nodes[node].location, ancestors(self.nodes, [node])
        first = next((n for n in values if n in made_of), node)
        if first == node:
            return replace(found, node=node), where
        value = self.nodes[first]
        shown = f"{value.name} = {value.text}" if value.name and value.name != value.text else value.label
        field = value.target if value.kind == "field" else ""
        return replace(found, node=first, first=f"{shown} ({values[first]})", field=field), where

    def weights(self) -> Found | None:
        """A step with finite gradients that spoils weights: they became too large for their type."""
        for update in self.updates.values():
            for network in update.networks:
                for name, p in self.step.networks[network].named_parameters():
                    if any(p is q for q in self.step.parameters[update.name]) and (what := wrong(p)):
                        where = update.location
                        return Found(self.iteration, "step", update.name, network, what, name, file=where.file,
                                     line=where.line, text=where.text, largest=largest(self.step))  # fmt: skip
        return None


def counted(graph: StepGraph) -> frozenset[str]:
    """The tags that say that a run is going wrong; an update that mends its gradients may have any loss it likes."""
    whole = [u for u in graph.updates if not u.nan_to_num]
    return frozenset(f"loss/{name}" for u in whole for name in (u.name, *(t.name for t in u.terms)))


def weights_finite(step: TrainStep) -> bool:
    """Whether everything that is trained is; the host waits."""
    return all_finite({id(p): p for own in step.parameters.values() for p in own}.values())


def largest(step: TrainStep) -> dict[str, float]:
    """Network -> the magnitude of its largest trained weight; the host waits."""
    found: dict[str, float] = {}
    for update in step.graph.updates:
        for network in update.networks:
            own = [p.detach() for p in step.networks[network].parameters() if p.requires_grad and p.numel()]
            found[network] = max((float(p.abs().max()) for p in own), default=0.0)
    return found


def wrong(value: Any) -> str:
    """``nan``, ``inf``, ``-inf``, or nothing for what is finite; NaN comes first, for it is what spreads."""
    found = set[str]()
    for x in [value] if isinstance(value, float) else tensors(value):
        numbers = _numbers(torch.tensor(x) if isinstance(x, float) else x)
        if numbers is not None and not bool(numbers.isfinite().all()):
            if bool(numbers.isnan().any()):
                return "nan"
            found.add("inf" if bool((numbers == torch.inf).any()) else "-inf")
    return "inf" if "inf" in found else next(iter(found), "")


def _numbers(x: Tensor) -> Tensor | None:
    values = x.detach()
    values = values.coalesce().values() if values.is_sparse else values
    values = torch.view_as_real(values) if values.is_complex() else values
    return values if values.is_floating_point() else None
