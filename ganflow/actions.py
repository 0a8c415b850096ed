"""What a phase does with each node: its mode, which edges are cut, what is frozen, kept and retained.

    context = Context(graph, decisions)
    evaluate(context, decision, "pred_fake")      # Evaluate('pred_fake', 'train', graph=True, cut=(...))

It follows from the modes of the updates and from the decisions of the snapshot rule; nothing is chosen here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ganflow.graph import Edge, Evaluate, Mode, Node, StepGraph, UpdatePlan, edges
from ganflow.modes import Modes, carries, passes_gradient
from ganflow.nodes import WEIGHTS
from ganflow.reuse import Decision

_STRENGTH: dict[Mode, int] = {"train": 3, "through": 2, "cone": 1, "no-grad": 0}


@dataclass(frozen=True)
class Context:
    """The declared graph and every decision, parents before children."""

    graph: StepGraph
    decisions: Sequence[Decision]
    children: Mapping[int, list[Decision]] = field(default_factory=dict)
    _leaves: dict[int, list[dict[str, tuple[set[str], set[str]]]]] = field(default_factory=dict, repr=False)
    _grads: dict[int, defaultdict[str, set[str]]] = field(default_factory=dict, repr=False)

    @property
    def nodes(self) -> Mapping[str, Node]:
        return self.graph.nodes

    @cached_property
    def could_carry(self) -> frozenset[str]:
        """Nodes with a trainable network upstream: reading one without gradient cuts something."""
        trainable = {n for n, plan in self.graph.plans.items() if plan.trainable}
        found: set[str] = set()
        seen: set[str] = set()
        for root in self.nodes:
            _mark(self.nodes, root, trainable, found, seen)
        return frozenset(found)

    def leaves(self, decision: Decision) -> list[dict[str, tuple[set[str], set[str]]]]:
        """For each member: the x it makes a leaf of -> (each `grad` by it made here, what lies on their paths)."""
        if decision.index not in self._leaves:
            of_members: list[dict[str, tuple[set[str], set[str]]]] = []
            for m in decision.stage.members:
                of_members.append({})
                for g, x in ((g, self.nodes[g].inputs[1]) for g in m.paths if g in decision.evaluate):
                    if x in m.leaves:
                        grads, inside = of_members[-1].setdefault(x, (set(), set()))
                        grads.add(g)
                        inside |= m.paths[g] - m.leaves
            self._leaves[decision.index] = of_members
        return self._leaves[decision.index]

    def grads(self, decision: Decision) -> Mapping[str, set[str]]:
        """Node -> each `grad` of this decision's updates on whose path it lies."""
        if decision.index not in self._grads:
            found = self._grads.setdefault(decision.index, defaultdict(set))
            for m in decision.stage.members:
                for g, path in m.paths.items():
                    for n in path:
                        found[n].add(g)
        return self._grads[decision.index]

    def from_here(self, decision: Decision) -> list[Decision]:
        """The decision and everything that may follow it."""
        found, stack = [], [decision]
        while stack:
            current = stack.pop(0)
            found.append(current)
            stack.extend(self.children.get(current.index, ()))
        return found


def _mark(nodes: Mapping[str, Node], root: str, trainable: set[str], found: set[str], seen: set[str]) -> None:
    stack = [(root, False)]
    while stack:
        name, done = stack.pop()
        node = nodes[name]
        if done:
            own = node.kind in ("call", "parameter", "op", "unroll") and not node.stateful
            inputs = any(i in found and passes_gradient(node, p) for p, i in enumerate(node.inputs))
            if (own and set(node.networks) & trainable) or inputs:
                found.add(name)
        elif name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack.extend((i, False) for i in node.inputs)


def _uses(c: Context, decision: Decision, name: str) -> list[tuple[Decision, Modes]]:
    """Every member, here and later, that gets a graph through the instance of ``name`` made here."""
    made = decision.instances.get(name)
    found = []
    for later in c.from_here(decision):
        if later is decision or (made is not None and later.instances.get(name) is made):
            wants = [m for m in later.stage.members if name in (m.graph if later is decision else m.carrying)]
            found += [(later, m) for m in wants if name in m.evaluated]  # the graph of a cone is used where it is made
    return found


def evaluate(c: Context, decision: Decision, name: str) -> Evaluate:
    """What evaluating this node in this decision means."""
    node = c.nodes[name]
    uses = _uses(c, decision, name)
    modes = [m for _, m in uses]
    graph = bool(uses)
    instance = decision.instances.get(name)
    return Evaluate(
        name,
        _mode(decision, node, graph),
        graph=graph,
        cut=_cut(c, node, modes),
        cone=_cone_edges(c, decision, node),
        freezes=_freezes(c, node, modes),
        kept_for=_kept_for(decision, name, uses),
        create_graph=node.kind in ("grad", "unroll") and graph,
        retain_graph=node.kind == "grad" and _keeps_path(c, decision, name),
        guard=instance.guard if instance else (),
        keeps_buffers=_keeps_buffers(c, decision, node),
    )


def _kept_for(decision: Decision, name: str, uses: Sequence[tuple[Decision, Modes]]) -> tuple[str, ...]:
    """Later updates that send gradient through the value made here."""
    later = [(d, m) for d, m in uses if d is not decision and name in m.carrying]
    return tuple(
        dict.fromkeys(u.name for d, m in later for u, n in zip(d.stage.updates, d.stage.members, strict=True) if n is m)
    )


def _mode(decision: Decision, node: Node, graph: bool) -> Mode:
    if node.networks and node.kind in ("call", "op"):
        here = [m.call_mode(node) for m in decision.stage.members if node.id in m.evaluated]
        return max(here, key=lambda mode: _STRENGTH[mode], default="no-grad")
    return "graph" if graph else "no-grad"


def _cut(c: Context, node: Node, uses: Sequence[Modes]) -> tuple[tuple[str, int], ...]:
    """Edges that could carry gradient and must not. The cut is drawn where the value is named."""
    if not uses:
        return ()
    found = []
    for edge in edges(c.nodes, node.id):
        reader = c.nodes[edge.reader]
        names_x = reader.kind == "grad" and edge.position == 1
        weights = edge.position == 0 and c.nodes[edge.source].kind == "unroll"  # of `frozen(Dk)(x)`
        passes = passes_gradient(reader, edge.position) or weights
        crosses = passes and edge.source in c.could_carry and not names_x
        if crosses and not any(carries(m, c.nodes, edge) or _in_cone(m, edge) for m in uses):
            found.append((edge.reader, edge.position))
    return tuple(found)


def _in_cone(modes: Modes, edge: Edge) -> bool:
    return any(edge.reader in path and edge.source in path for path in modes.paths.values())


def _cone_edges(c: Context, decision: Decision, node: Node) -> tuple[tuple[str, int], ...]:
    """Edges that read the leaf made of a value rather than the value; `grad` itself names the leaf."""
    leaves = c.leaves(decision)
    found = []
    for edge in edges(c.nodes, node.id):
        for of_it, inside in (m[edge.source] for m in leaves if edge.source in m):
            if (edge.reader in of_it and edge.position == 1) or edge.reader in inside:
                found.append((edge.reader, edge.position))
    return tuple(dict.fromkeys(found))


def _freezes(c: Context, node: Node, uses: Sequence[Modes]) -> tuple[str, ...]:
    if not uses or not node.networks:
        return ()
    differentiated = {n for m in uses for n in m.differentiated}
    trained = {n for m in uses if node.id in m.carrying for n in m.trained} if not node.frozen else set()
    return tuple(n for n in node.networks if n not in trained | (differentiated if not node.frozen else set()))


def _keeps_path(c: Context, decision: Decision, grad: str) -> bool:
    """Is the graph between x and y needed after this `grad`?"""
    for m in decision.stage.members:
        if grad not in m.evaluated:
            continue
        path = {n for n in m.paths[grad] if c.nodes[n].kind not in ("field", *WEIGHTS)}
        if path & m.carrying or any(c.grads(decision)[n] - {grad} for n in path):
            return True
        if any(d is not decision for n in path for d, _ in _uses(c, decision, n)):
            return True
        if any(path & other.carrying for other in decision.stage.members):
            return True
    return False


def _keeps_buffers(c: Context, decision: Decision, node: Node) -> tuple[str, ...]:
    """Networks called here whose buffers only other updates may write."""
    here = {u.name for u in decision.stage.updates}
    limits = {n: c.graph.plans[n].buffers_in for n in node.networks if n in c.graph.plans}
    return tuple(n for n, allowed in limits.items() if allowed is not None and not here & set(allowed))


def update_plan(c: Context, decision: Decision, k: int) -> UpdatePlan:
    """The ``k``-th member of a stage with what the plan decides for it."""
    update, members = decision.stage.updates[k], decision.stage.members
    mine = members[k]
    shared = any(c.nodes[n].kind not in WEIGHTS for later in members[k + 1 :] for n in mine.carrying & later.carrying)
    through = (c.nodes[n] for n in mine.slice if c.nodes[n].kind == "call" and mine.call_mode(c.nodes[n]) == "through")
    freezes = tuple(dict.fromkeys(n.target for n in through if n.networks))
    return replace(update, freezes=freezes, retain_graph=shared)
