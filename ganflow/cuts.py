"""Values through which all gradient of an update passes on its way to a network.

    cuts(graph)                    # pix2pix: (Cut(update='G', value='fake_B', terms=(('G_GAN',), ('G_L1',))),)

At such a value the gradients of the terms stand side by side, in the units of the value itself: their ratio is what a
weight such as ``lambda_A`` sets. In graph theory it is a dominator: every way from the loss to the network's weights
leads through it. Of several in a row the one nearest to the loss tells terms apart; into those behind it all terms
come together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ganflow.graph import Node, StepGraph, UpdatePlan
from ganflow.modes import Modes, modes_of, passes_gradient, trains


@dataclass(frozen=True)
class Cut:
    """``value`` is on every way from the loss of ``update`` to a network that it trains.

    Args:
        terms: names of terms; those whose gradients reach the value by a common way stand together.
    """

    update: str
    value: str
    terms: tuple[tuple[str, ...], ...]


def cuts(graph: StepGraph) -> tuple[Cut, ...]:
    """Those at which at least two groups of terms can be told apart, for each update and network that it trains."""
    return tuple(dict.fromkeys(cut for update in graph.updates if len(update.terms) > 1 for cut in _of(graph, update)))


def joined(terms: Sequence[str], ways: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """Terms in groups: two that share a way are in one, for only their sum is known there.

    >>> joined(["a", "b", "c"], [["a"], ["a", "c"]])
    (('a', 'c'),)
    """
    groups: list[set[str]] = []
    for way in ways:
        touched = [g for g in groups if not g.isdisjoint(way)]
        groups = [g for g in groups if g not in touched] + [set(way).union(*touched)]
    found = [tuple(t for t in terms if t in g) for g in groups]
    return tuple(sorted((g for g in found if g), key=lambda g: terms.index(g[0])))


def _of(graph: StepGraph, update: UpdatePlan) -> list[Cut]:
    nodes = graph.nodes
    modes = modes_of(nodes, [update.loss], frozenset(update.moves))
    flow = _Flow(nodes, modes)
    above = _dominators([n for n in reversed(modes.slice) if n in modes.carrying], flow.inputs, update.loss)
    made_of = {t.name: flow.below(t.node) for t in update.terms}
    found = []
    for network in update.networks:
        shared = (n for t in update.trains if t.split(".")[0] == network for n in graph.shared.get(t, ()))
        ends = [n for n in flow.ends({network, *shared}) if n in above]
        for value in _common(above, ends):
            groups = joined(list(made_of), ([t for t in made_of if r in made_of[t]] for r in flow.readers(value)))
            if len(groups) > 1 and nodes[value].is_statement and value not in {t.node for t in update.terms}:
                found.append(Cut(update.name, value, groups))
            if groups:
                break
    return found


class _Flow:
    """Where gradient goes from each node: ``inputs``, and the weights that a node reads itself.

    The gradient of a ``grad(y, x)`` does not go through the value y: it reaches what is on the way from x to y, its
    weights and its other inputs, from within.
    """

    def __init__(self, nodes: Mapping[str, Node], modes: Modes) -> None:
        self.nodes = nodes
        order = [n for n in modes.slice if n in modes.carrying]
        own = {n: [i for p, i in enumerate(nodes[n].inputs) if i in modes.needs and passes_gradient(nodes[n], p)]
               for n in order}  # fmt: skip
        inside = {n: sorted(modes.paths[n] - {nodes[n].inputs[1]}) for n in order if nodes[n].kind == "grad"}
        self.inputs = {n: [*own[n], *(i for m in inside.get(n, ()) for i in own.get(m, ()))] for n in order}
        self.reads = {n: [n, *inside.get(n, ())] for n in order}

    def ends(self, networks: set[str]) -> list[str]:
        """Nodes from which gradient enters the weights of these."""
        return [n for n, read in self.reads.items() if any(trains(self.nodes[m], networks) for m in read)]

    def readers(self, value: str) -> list[str]:
        """Nodes from which gradient comes to the value."""
        return [n for n, inputs in self.inputs.items() if value in inputs]

    def below(self, root: str) -> set[str]:
        """The nodes that gradient reaches from this one, itself included."""
        seen: set[str] = set()
        stack = [root]
        while stack:
            if (node := stack.pop()) not in seen:
                seen.add(node)
                stack += self.inputs.get(node, ())
        return seen


def _dominators(order: Sequence[str], inputs: Mapping[str, Sequence[str]], root: str) -> dict[str, tuple[str, int]]:
    """For each node in ``order``, readers first, the nearest one that is on every way to it, and its own depth."""
    above: dict[str, tuple[str, int]] = {root: (root, 0)}
    for node in order:
        for source in inputs[node] if node in above else ():
            nearest = _meet(above, above[source][0], node) if source in above else node
            above[source] = (nearest, above[nearest][1] + 1)
    return above


def _meet(above: Mapping[str, tuple[str, int]], a: str, b: str) -> str:
    """The nearest node that is on every way to both."""
    while a != b:
        if above[a][1] >= above[b][1]:
            a = above[a][0]
        else:
            b = above[b][0]
    return a


def _common(above: Mapping[str, tuple[str, int]], ends: Sequence[str]) -> list[str]:
    """What is on every way to all of these, the nearest to the root first, the root itself left out."""
    if not ends:
        return []
    node = ends[0]
    for end in ends[1:]:
        node = _meet(above, node, end)
    found = []
    while above[node][1] > 0:
        found.append(node)
        node = above[node][0]
    return found[::-1]
