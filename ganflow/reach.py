"""Which networks a term of a loss should give a gradient, by the declaration alone: what the gradient probe compares.

    expected = reach(graph.nodes, "G_GAN", trained={"G"})
    expected.must                  # {'G'}: no gradient there is starvation
    expected.may                   # {'G'}: a gradient anywhere else is a leak
    way(graph.nodes, "G_GAN", "G")         # what lies between the two

It follows from the rules of language.md §5 and not from what the scheduler made of them, so that a plan that forgets
a detach is found too.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from ganflow.graph import Node, ancestors
from ganflow.modes import Modes, grad_path, modes_of, passes_gradient
from ganflow.nodes import WEIGHTS


@dataclass(frozen=True)
class Reach:
    """Networks that must, and that may get a gradient from a term."""

    must: frozenset[str]
    may: frozenset[str]


def reach(
    nodes: Mapping[str, Node],
    term: str,
    trained: Set[str],
    *,
    group: Set[str] = frozenset(),
    taken: Mapping[str, bool] | None = None,
) -> Reach:
    """What a term of an update that trains these networks should reach.

    Args:
        group: what keeps the graph of its weights in the same evaluation, and whose gradient the update does not
            take: all that the members of its group train, and what their losses have a ``grad(y, G)`` of.
        taken: node of a host test -> its outcome, as far as it is known: the other branch reaches nothing now.
    """
    modes = modes_of(nodes, [term], frozenset(trained))
    both = modes_of(nodes, [term], frozenset(trained) | group)
    may = {n for c in both.carrying for n in _own(nodes[c])} & both.trained
    return Reach(frozenset(_must(nodes, term, modes, taken or {})), frozenset(may))


def differentiated(nodes: Mapping[str, Node], roots: Set[str]) -> frozenset[str]:
    """Networks of which the roots have a ``grad(y, G)``, or a ``grad(y, G.head.weight)``."""
    grads = (nodes[n] for n in ancestors(nodes, roots) if nodes[n].kind == "grad")
    return frozenset(nodes[g.inputs[1]].target for g in grads if nodes[g.inputs[1]].kind in WEIGHTS)


def way(nodes: Mapping[str, Node], term: str, network: str) -> frozenset[str]:
    """Everything through which gradient can flow from a term to a network's weights."""
    return modes_of(nodes, [term], frozenset({network})).carrying


def host_tests(nodes: Mapping[str, Node], roots: Set[str]) -> list[str]:
    """Tests of ``a if c else b`` upstream of the roots that counters and constants alone decide."""
    tests = dict.fromkeys(
        nodes[n].inputs[0] for n in sorted(ancestors(nodes, roots)) if nodes[n].kind == "op" and nodes[n].target == "if"
    )
    known = ("constant", "counter", "schedule", "op", "index", "slice", "pack")
    return [t for t in tests if all(nodes[a].kind in known and nodes[a].host for a in ancestors(nodes, [t]))]


def _own(node: Node) -> tuple[str, ...]:
    """Networks whose weights get a gradient at this node."""
    return () if node.frozen or node.stateful else node.networks


def _must(nodes: Mapping[str, Node], term: str, modes: Modes, taken: Mapping[str, bool]) -> set[str]:
    """Networks on a way that is open for sure.

    A branch that is not taken, or not known, is none. Through ``grad(y, x)`` only what lies between x and y is: what
    is upstream of x enters dy/dx by second derivatives, which may all vanish.
    """
    found: set[str] = set()
    stack, seen = [term], set[str]()
    while stack:
        node = nodes[stack.pop()]
        if node.id in seen or node.id not in modes.needs:
            continue
        seen.add(node.id)
        if node.kind == "grad":
            x = node.inputs[1]
            path = grad_path(nodes, node.id) if nodes[x].kind not in WEIGHTS else set()
            found |= {n for p in path - {x} for n in _own(nodes[p])}
            continue
        found |= set(_own(node))
        stack += [i for p, i in enumerate(node.inputs) if passes_gradient(node, p) and _is_open(node, p, taken)]
    return found & modes.trained


def _is_open(node: Node, position: int, taken: Mapping[str, bool]) -> bool:
    if node.kind != "op" or node.target != "if":
        return True
    outcome = taken.get(node.inputs[0])
    return outcome is not None and position == (1 if outcome else 2)
