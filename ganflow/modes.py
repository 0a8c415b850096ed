"""Gradient modes: derived from the declaration, never written (language.md §5).

modes = modes_of(nodes, loss, trained={"G"})
modes.carrying        # nodes through which gradient flows from the loss to a trained parameter
modes.cone            # nodes that need a local graph for a `grad(y, x)` only
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

from ganflow.graph import NOT_DIFFERENTIABLE, Edge, Mode, Node, Unroll, in_order
from ganflow.nodes import WEIGHTS


@dataclass(frozen=True)
class Modes:
    """What one update wants of each node.

    Args:
        trained: networks whose parameters it trains.
        slice: what its loss is made of, and the states committed after it, in order of evaluation.
        roots: its loss and the next values of those states.
        needs: a trained parameter is upstream; ``carrying``: and the loss is downstream.
        paths: for each ``grad(y, x)`` what lies on its way from x to y.
        leaves: each such x that has no graph of its own.
        differentiated: networks of which an x is a weight.
    """

    trained: frozenset[str]
    slice: tuple[str, ...]
    roots: tuple[str, ...]
    needs: frozenset[str]
    live: frozenset[str]
    paths: Mapping[str, frozenset[str]]
    leaves: frozenset[str]
    differentiated: frozenset[str] = frozenset()

    @cached_property
    def cone(self) -> frozenset[str]:
        """Whatever is on a path of a ``grad(y, x)``."""
        return frozenset().union(*self.paths.values())

    @cached_property
    def evaluated(self) -> frozenset[str]:
        return frozenset(self.slice)

    @cached_property
    def carrying(self) -> frozenset[str]:
        return self.needs & self.live

    @cached_property
    def graph(self) -> frozenset[str]:
        """Nodes whose value has an autograd graph because of this update."""
        return self.carrying | (self.cone - self.leaves)

    def call_mode(self, node: Node) -> Mode:
        """Of a network call, or of an op that is handed networks."""
        if node.id in self.carrying:
            return "train" if trains(node, self.trained) else "through"
        return "cone" if node.id in self.cone else "no-grad"


def modes_of(nodes: Mapping[str, Node], losses: Iterable[str], trained: Set[str], also: Iterable[str] = ()) -> Modes:
    """The modes of an update with these losses that trains these networks.

    Args:
        also: values that it evaluates without differentiating them.
    """
    losses = tuple(losses)
    roots = (*losses, *also)
    order = tuple(in_order(nodes, roots))
    needs = _needs(nodes, order, trained)
    live = _live(nodes, losses)
    paths = {n: frozenset(grad_path(nodes, n)) for n in order if nodes[n].kind == "grad"}
    ends = {n: nodes[n].inputs[1] for n in paths}
    leaves = {x for x in ends.values() if not (x in needs and x in live) and nodes[x].kind not in WEIGHTS}
    leaves -= {x for x in leaves if any(x in paths[n] for n in paths if ends[n] != x)}
    of_networks = frozenset(nodes[x].target for x in ends.values() if nodes[x].kind in WEIGHTS)
    return Modes(frozenset(trained), order, roots, needs, live, paths, frozenset(leaves), of_networks)


def together(nodes: Mapping[str, Node], members: Sequence[Modes]) -> tuple[Modes, ...]:
    """The modes of updates that share their evaluation: an x is a leaf for all of them or for none."""
    ends = {n: nodes[n].inputs[1] for m in members for n in m.paths}
    kept = {x for m in members for n, x in ends.items() if n in m.paths and x not in m.leaves}
    kept |= {x for x in ends.values() for m in members if x in m.carrying}
    kept |= {x for x in ends.values() for m in members for n in m.paths if ends[n] != x and x in m.paths[n]}
    return tuple(replace(m, leaves=m.leaves - kept) for m in members)


def passes_gradient(node: Node, position: int) -> bool:
    """Does gradient flow from this node to its input at ``position``?"""
    if node.kind in ("detach", "draw") or node.stateful or node.host:
        return False
    if node.kind == "op" and node.target == "if":
        return position > 0
    if isinstance(node.value, Unroll):
        return node.value.passes[position]
    if node.kind == "call" and node.frozen and not node.networks:  # of an unrolled network: its weights are an input
        return position > 0
    return not (node.kind == "op" and node.target in NOT_DIFFERENTIABLE)


def trains(node: Node, trained: Set[str]) -> bool:
    return not node.frozen and any(n in trained for n in node.networks)


def _needs(nodes: Mapping[str, Node], order: Iterable[str], trained: Set[str]) -> frozenset[str]:
    needs: set[str] = set()
    for name in order:
        node = nodes[name]
        from_inputs = any(i in needs and passes_gradient(node, p) for p, i in enumerate(node.inputs))
        own = node.kind in ("call", "parameter", "op", "network", "unroll") and trains(node, trained)
        if (own and not node.stateful) or from_inputs:
            needs.add(name)
    return frozenset(needs)


def _live(nodes: Mapping[str, Node], roots: Iterable[str]) -> frozenset[str]:
    live: set[str] = set()
    stack = list(roots)
    while stack:
        name = stack.pop()
        if name in live:
            continue
        live.add(name)
        stack.extend(i for p, i in enumerate(nodes[name].inputs) if passes_gradient(nodes[name], p))
    return frozenset(live)


def grad_path(nodes: Mapping[str, Node], grad: str) -> set[str]:
    """The nodes from x to y of a ``grad(y, x)``, both included; empty if y does not depend on x."""
    y, x = nodes[grad].inputs
    network = nodes[x].target if nodes[x].kind in WEIGHTS else None
    live = _live(nodes, [y])
    if x not in live and network is None:
        return set()
    below = {x}
    for name in (n for n in in_order(nodes, [y]) if n in live):
        node = nodes[name]
        reads = any(i in below and passes_gradient(node, p) for p, i in enumerate(node.inputs))
        whole = nodes[x].kind == "network" and node.target == network
        same = node.kind == "parameter" and (whole or (node.target, node.path) == (nodes[x].target, nodes[x].path))
        called = node.kind in ("call", "op") and network in node.networks and not node.frozen
        if reads or (network is not None and (same or called)):
            below.add(name)
    return below & live


def carries(modes: Modes, nodes: Mapping[str, Node], edge: Edge) -> bool:
    """Does this update send gradient through the edge?"""
    reader = nodes[edge.reader]
    return reader.id in modes.carrying and edge.source in modes.needs and passes_gradient(reader, edge.position)
