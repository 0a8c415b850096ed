"""Norms, term by term, of the gradient that arrives at a cut (``cuts.py``), read off the one ordinary backward pass.

    norms = CutNorms(graph, cuts(graph))
    ... the step runs with `observe` = norms.observe ...
    norms.logs                               # {"grad_at/fake_B/G_GAN": 0-d tensor, "grad_at/fake_B/G_L1": ...}

Autograd adds up what comes to a value from each place where it was used. Each place belongs to the terms that were
made by it, so hooks on these places see the terms apart: nothing is differentiated twice, nothing enters the graph,
and no number of the step changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from ganflow.cuts import Cut, joined
from ganflow.gradcut import tensors
from ganflow.graph import StepGraph, UpdatePlan
from ganflow.printing import AFTER_BACKWARD, BEFORE_BACKWARD

Place = tuple[Node, int]  # a step of the backward pass, and which of its results goes to the value


class CutNorms:
    """The norms of one iteration; of an update that repeats those of its last run.

    With microbatches the gradient is that at the values of all parts together. A value that is several tensors, such
    as mean and variance of a code, has one norm over all of them.

    Attributes:
        logs: ``grad_at/VALUE/TERM`` -> norm of the gradient of the weighted term, gain included.
    """

    def __init__(self, graph: StepGraph, cuts: Sequence[Cut]) -> None:
        self.logs: dict[str, Tensor] = {}
        self.updates = {u.name: u for u in graph.updates}
        self.cuts = {u: [c for c in cuts if c.update == u] for u in self.updates}
        self.wanted = {c.value for c in cuts} | {t.node for c in cuts for t in self.updates[c.update].terms}
        self.values: dict[str, Any] = {}
        self.parts = dict.fromkeys(self.updates, 0)
        self.watching: list[_Arrivals] = []

    def observe(self, phase: str, node: str, value: Any) -> None:
        """What generated code calls."""
        if node == BEFORE_BACKWARD and self.cuts.get(phase):
            self.watching = [_Arrivals(c.value, *self.places(self.updates[phase], c)) for c in self.cuts[phase]]
        elif node == AFTER_BACKWARD and value is None and self.cuts.get(phase):
            self.add(self.updates[phase])
        elif node in self.wanted:
            self.values[node] = value

    def places(self, update: UpdatePlan, cut: Cut) -> tuple[list[Place], dict[Place, int], dict[Place, set[str]]]:
        """Where the value, as autograd knows it, was used: for which of its tensors, and by which terms."""
        held = [t for t in tensors(self.values.get(cut.value)) if t.requires_grad]
        edges = {(e.node, e.output_nr): k for k, e in enumerate(map(get_gradient_edge, held))}
        which: dict[Place, int] = {}
        by: dict[Place, set[str]] = {}
        for term in update.terms:
            value = self.values.get(term.node)
            if isinstance(value, Tensor) and value.grad_fn is not None:
                for place, source in _uses(value.grad_fn, edges):
                    which[place] = edges[source]
                    by.setdefault(place, set()).add(term.name)
        return list(which), which, by

    def add(self, update: UpdatePlan) -> None:
        """The norms of one backward pass; the parts of a batch stand beside each other."""
        first = self.parts[update.name] % update.microbatches == 0
        self.parts[update.name] += 1
        order = [t.name for t in update.terms]
        for arrivals in self.watching:
            for terms, norm in arrivals.norms(order).items():
                tag = f"grad_at/{arrivals.value}/{terms}"
                self.logs[tag] = norm if first or tag not in self.logs else torch.hypot(self.logs[tag], norm)
        self.watching = []


class _Arrivals:
    """What comes to one value in one backward pass, from when it is made until ``norms`` is called."""

    def __init__(self, value: str, places: list[Place], which: dict[Place, int], by: dict[Place, set[str]]) -> None:
        self.value, self.which, self.by = value, which, by
        self.found: dict[Place, Tensor] = {}
        grouped: dict[Node, list[Place]] = {}
        for place in places:
            grouped.setdefault(place[0], []).append(place)
        self.hooks = [node.register_hook(partial(self.hook, of)) for node, of in grouped.items()]

    def hook(self, places: Sequence[Place], results: Sequence[Tensor | None], _: Any) -> None:
        for place in places:
            if (gradient := results[place[1]]) is not None:
                self.found[place] = gradient

    def norms(self, order: Sequence[str]) -> dict[str, Tensor]:
        """Terms, joined where they come by a common way -> norm."""
        for hook in self.hooks:
            hook.remove()
        norms: dict[str, Tensor] = {}
        with torch.no_grad():
            for terms in joined(order, self.by.values()):
                sums: dict[int, Tensor] = {}
                for place in (p for p, by in self.by.items() if p in self.found and not by.isdisjoint(terms)):
                    part, k = self.found[place], self.which[place]
                    sums[k] = sums[k] + part if k in sums else part
                name = "+".join(terms)
                for total in map(_norm, sums.values()):
                    norms[name] = torch.hypot(norms[name], total) if name in norms else total
        return norms


def _uses(root: Node, edges: dict[tuple[Node, int], int]) -> Iterator[tuple[Place, tuple[Node, int]]]:
    """Every step of the backward pass from ``root`` that sends something to one of these, and where to."""
    seen = {root}  # holds them: a step that nothing holds would get another Python object when it is met again
    stack = [root]
    while stack:
        node = stack.pop()
        for k, source in enumerate(node.next_functions):
            if source in edges:
                yield (node, k), source  # type: ignore[misc]
            elif source[0] is not None and source[0] not in seen:
                seen.add(source[0])
                stack.append(source[0])


def _norm(gradient: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradient, dtype=torch.promote_types(gradient.dtype, torch.float32))
