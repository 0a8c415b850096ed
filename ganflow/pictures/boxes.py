"""What one node of the graph looks like in a lane.

statement_box(graph, action, "1.fake_B", shape="4×3×64×64", cost="759 MFLOP")    # Box(kind='call', title='G', ...)
"""

from __future__ import annotations

from ganflow.graph import Evaluate, Node, Reuse, StepGraph
from ganflow.pictures.model import Box, Kind
from ganflow.pictures.words import call_title, details, leaf_kind, mode_of, reuse_words, skeleton


def leaf_box(graph: StepGraph, n: Node, id_: str) -> Box:
    """A field of the batch, a state, a parameter that is read as a value."""
    title = f"{n.target}.{n.path}" if n.kind == "parameter" else n.name or n.target or n.text or n.id
    return Box(
        id_, leaf_kind(n), title, network=_first(n.networks), node=n.id, parts=(n.id,), details=details(graph, n)
    )


def reused_box(graph: StepGraph, action: Reuse, id_: str) -> Box:
    """A value of an earlier lane."""
    n = graph.nodes[action.node]
    note = f"before step {', '.join(action.stale)}" if action.stale else "reused"
    return Box(
        id_,
        "reused",
        n.name or n.text or n.id,
        note=note + " with graph" * action.graph,
        mode="graph" if action.graph else "no-grad",
        network=_first(n.networks),
        node=n.id,
        parts=(n.id,),
        details=(*details(graph, n), ("reused", reuse_words(action))),
    )


def statement_box(graph: StepGraph, action: Evaluate, id_: str, *, shape: str, cost: str) -> Box:
    """A value that is evaluated here: by a network, an op, or a draw."""
    n = graph.nodes[action.node]
    kind, name = _kind(n), n.text.split(" on ")[0] if n.kind == "unroll" else n.name
    if kind == "draw":
        title, name = n.name or n.target, ""
    else:
        title = call_title(n) if kind == "call" else skeleton(graph, n)
    return Box(
        id_,
        kind,
        title,
        name,
        note=cost,
        mode=mode_of(n, action),
        network=_first(n.networks or _unrolled(graph, n)) if kind == "call" else "",
        node=n.id,
        shape=shape,
        details=details(graph, n, action, shape=shape, cost=cost),
    )


def _kind(n: Node) -> Kind:
    if n.kind in ("call", "unroll") or (n.kind == "op" and n.networks):
        return "call"
    return "draw" if n.kind == "draw" else "op"


def _unrolled(graph: StepGraph, n: Node) -> tuple[str, ...]:
    """A call of an unrolled network reads the weights of the network that was unrolled."""
    return graph.nodes[n.inputs[0]].networks if n.kind == "call" and n.inputs else ()


def _first(networks: tuple[str, ...]) -> str:
    return networks[0] if networks else ""
