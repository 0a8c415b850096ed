"""How much of an update's gradient comes from each of its terms, and which terms pull against each other.

    instrument = TermGradients(step)
    step(observe=instrument.observe)
    print(instrument.found["G"])         # a Matrix (``shares.py``)

Exact: before the backward pass of an update each weighted term is differentiated on its own, in the graph of the
iteration itself, with the weights of this iteration and the update's gain. The sum over the terms is the gradient that
the update uses, before it is clipped. An update with a single term has nothing to be told apart and is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganflow.codegen import generate_values
from ganflow.graph import StepGraph, UpdatePlan, ancestors
from ganflow.logs import Logs
from ganflow.parts import shares_of
from ganflow.printing import BEFORE_BACKWARD
from ganflow.running import compile_function
from ganflow.shares import MAX_PAIRED, Matrix, inner_products
from ganflow.step import TrainStep, namespace


class TermGradients:
    """An instrument of ``watch.py``; of an update that repeats it shows the last run, as ``loss/`` and ``weight/`` do.

    Attributes:
        found: update -> its matrix.
        missed: updates whose gradients did not fit into memory beside each other.
    """

    def __init__(self, step: TrainStep) -> None:
        self.step = step
        self.updates = {u.name: u for u in step.graph.updates if len(u.terms) > 1}
        self.weights = {name: Weights(step, u) for name, u in self.updates.items()}
        self.nodes = {t.node for u in self.updates.values() for t in u.terms}
        self.values: dict[str, Any] = {}
        self.runs = dict.fromkeys(self.updates, 0)
        self.sums: dict[str, list[list[Tensor | None]]] = {}
        self.found: dict[str, Matrix] = {}
        self.missed: list[str] = []

    def observe(self, phase: str, node: str, value: Any) -> None:
        """What generated code calls."""
        if node == BEFORE_BACKWARD:
            if phase in self.updates:
                self.before_backward(self.updates[phase])
        elif node in self.nodes:
            self.values[node] = value

    def before_backward(self, update: UpdatePlan) -> None:
        """Differentiate the terms on this part of the batch, and measure after the last part."""
        part = self.runs[update.name] % update.microbatches
        self.runs[update.name] += 1
        if update.name in self.missed:
            return
        try:
            grads = self.gradients(update, part)
            before = self.sums.pop(update.name, None) if part else None
            sums = grads if before is None else [list(map(_plus, *pair)) for pair in zip(before, grads, strict=True)]
            if part < update.microbatches - 1:
                self.sums[update.name] = sums
            else:
                self.found[update.name] = self.matrix(update, sums)
        except torch.OutOfMemoryError:
            self.missed.append(update.name)
            self.found.pop(update.name, None)

    def gradients(self, update: UpdatePlan, part: int) -> list[list[Tensor | None]]:
        """Term by term, parameter by parameter; ``None`` where autograd knows of no way."""
        counters, share = copy.copy(self.step.counters), 1.0
        if update.microbatches > 1:
            sizes, shares = shares_of(counters.batch_size, update.microbatches)
            counters.batch_size, share = sizes[part], shares[part]
        weights = self.weights[update.name](counters)
        parameters = self.step.parameters[update.name]
        found: list[list[Tensor | None]] = []
        for term in update.terms:
            value = self.values.get(term.node, weights.get(term.node))
            if isinstance(value, Tensor) and value.requires_grad:
                scale = torch.ones_like(value) * (weights.get(term.name, 1.0) * update.gain * share)
                grads = torch.autograd.grad(value, parameters, scale, retain_graph=True, allow_unused=True)
                found.append([None if g is None else g.detach() for g in grads])
            else:
                found.append([None] * len(parameters))
        return found

    def matrix(self, update: UpdatePlan, grads: Sequence[Sequence[Tensor | None]]) -> Matrix:
        terms = tuple(t.name for t in update.terms)
        parameters = self.step.parameters[update.name]
        held = {n: {id(p) for p in self.step.networks[n].parameters()} for n in update.networks}
        total = torch.zeros(len(terms), len(terms), dtype=torch.float64)
        by_network = {n: torch.zeros_like(total) for n in update.networks}
        for place, p in enumerate(parameters):
            products = inner_products([g[place] for g in grads], paired=len(terms) <= MAX_PAIRED)
            total += products
            for network in (n for n in by_network if id(p) in held[n]):
                by_network[network] += products
        return Matrix(update.name, terms, total, by_network)

    def report(self, logs: Logs, step: int) -> dict[str, float]:
        """The matrices as text, their numbers as scalars."""
        texts = [f"update {name}\n{matrix}" for name, matrix in self.found.items()]
        texts += [f"update {name}: not enough memory for the gradients of its terms" for name in self.missed]
        if texts:
            logs.text("gradients", "\n\n".join(texts), step=step)
        return {tag: value for matrix in self.found.values() for tag, value in matrix.scalars().items()}


class Weights:
    """What the terms of an update are multiplied with, now: ``Weights(step, update)(counters)["G_L1"]``.

    By its node there is also a term that is no more than a weight of a network: it is not evaluated, so nobody is
    told of it.
    """

    def __init__(self, step: TrainStep, update: UpdatePlan) -> None:
        nodes = step.graph.nodes
        roots = {t.name: t.factor for t in update.terms if t.factor is not None}
        roots |= {t.node: t.node for t in update.terms if nodes[t.node].kind == "parameter"}
        kept = ancestors(nodes, roots.values())
        graph = StepGraph(f"{step.graph.name} weights", {n: v for n, v in nodes.items() if n in kept}, {}, (),
                          step.graph.networks)  # fmt: skip
        self.run = compile_function(graph, generate_values(graph, roots), namespace(step, graph), "values")

    def __call__(self, counters: Any) -> dict[str, Any]:
        return self.run({}, counters)


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
