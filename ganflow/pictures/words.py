"""What is written on boxes and said about them."""

from __future__ import annotations

from collections.abc import Mapping

from ganflow import expr as E
from ganflow.graph import LEAVES, Evaluate, Node, Reuse, StepGraph
from ganflow.pictures.model import Kind, Mode
from ganflow.printing import Printer
from ganflow.views import PlanPrinter, evaluated_before, statement_text

HOLE = "·"
_LEAF: Mapping[str, Kind] = {"state": "state", "parameter": "parameter"}


def leaf_kind(node: Node) -> Kind:
    return _LEAF.get(node.kind, "data")


def mode_of(node: Node, action: Evaluate) -> Mode:
    """How gradient treats a value in this lane."""
    if action.kept_for:
        return "kept"
    if action.mode in ("train", "through", "cone"):
        return action.mode
    return "graph" if action.graph else "no-grad"


def call_title(node: Node) -> str:
    """``D``, ``G.mapping``, ``nce(G)`` for an op that is given a network."""
    if node.kind == "op":
        return f"{node.target}({', '.join(node.networks)})"
    if node.kind == "unroll":
        return node.name or node.id
    return f"{node.target}.{node.path}" if node.path else node.target


class _Skeleton(PlanPrinter):
    """Expressions with a dot wherever an arrow brings a value."""

    def read(
        self, name: str, reader: str, position: int, action: Evaluate | None, made: Mapping[str, E.Expr]
    ) -> E.Expr:
        node = self.nodes[name]
        shown = node.is_statement or (node.kind in LEAVES and node.kind not in ("constant", "counter", "schedule"))
        if shown and node.kind != "network":
            return E.Name(HOLE)
        return super().read(name, reader, position, action, made)

    def form(self, n: Node, parts: list[E.Expr], action: Evaluate | None) -> E.Expr:
        if n.kind == "detach":
            return parts[0]
        if n.kind == "grad":
            x = self.nodes[n.inputs[1]]
            return E.Name(f"∂/∂{x.name or x.target or HOLE}")
        return super().form(n, parts, action)


def skeleton(graph: StepGraph, node: Node) -> str:
    """``gan(·, False)``: what is done with the values that arrows bring."""
    printer: Printer = _Skeleton(graph.nodes, {})
    return printer.text(node.id)


def details(
    graph: StepGraph, node: Node, action: Evaluate | None = None, *, shape: str = "", cost: str = ""
) -> tuple[tuple[str, str], ...]:
    """Heading and text: expression, place, mode, shape, cost."""
    text = statement_text(graph, action) if action else "" if node.kind in LEAVES else node.text
    label = node.name or node.id
    found = {
        "what": f"{label} = {text}" if text and text != label else f"{_LEAF_WORDS.get(node.kind, node.kind)} {label}",
        "where": str(node.location) if node.kind != "field" else "",
        "mode": mode_words(graph, node, action) if action else "",
        "shape": shape,
        "cost": f"{cost} forward" if cost else "",
    }
    return tuple((k, v) for k, v in found.items() if v)


_LEAF_WORDS = {"field": "field of the batch:", "parameter": "weights", "state": "state", "network": "network"}


def mode_words(graph: StepGraph, node: Node, action: Evaluate) -> str:
    """In words what the mode means here."""
    networks = ", ".join(node.networks)
    match mode_of(node, action):
        case "kept":
            said = f"graph kept for update {', '.join(action.kept_for)}"
        case "train":
            said = f"trains {networks}: its parameters get gradients"
        case "through":
            said = f"frozen: gradient passes through {networks}, its parameters get none"
        case "cone":
            said = "a local graph, for the inner derivative only"
        case "graph":
            said = "carries gradient"
        case _:
            said = "a draw, one per batch" if node.is_random else "no gradient, evaluated without a graph"
    again = action.mode in ("train", "through") and node.kind == "call" and evaluated_before(graph, action)
    said += "; evaluated again, for weights have moved" if again else ""
    return said + "".join(f"; only if {'' if yes else 'not '}{test}" for test, yes in action.guard)


def reuse_words(action: Reuse) -> str:
    """``reused with its graph``."""
    words = "reused with its graph" if action.graph else "reused"
    return words + (f", from before step {', '.join(action.stale)}" if action.stale else "")


def sentence(graph: StepGraph, node: Node, action: Evaluate) -> str:
    """What evaluating a node is, for whoever follows step by step."""
    return f"{node.name or node.id} = {statement_text(graph, action)}: {mode_words(graph, node, action)}"
