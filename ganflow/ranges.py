"""Real samples beside generated ones that cannot look like them: in [0, 1] beside a tanh, below 0 beside a sigmoid.

    for finding in check_ranges(graph, traits, {"real_B": 0.0}):
        print(finding)      # warning[range]

What a network ends in is seen when it is called, the smallest number of a field in the batch that the probe runs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from ganflow.domains import COMPARING, shown_parts
from ganflow.experiment import Diagnostic
from ganflow.graph import StepGraph
from ganflow.nodes import Node, in_order
from ganflow.traits import Trait, of_texts

ENOUGH = 256  # numbers: fewer may all be positive by chance


def smallest(batch: Mapping[str, Tensor]) -> dict[str, float]:
    """Field -> its smallest number, where it has enough of them."""
    return {k: float(v.min()) for k, v in batch.items() if v.is_floating_point() and v.numel() >= ENOUGH}


def check_ranges(graph: StepGraph, traits: Mapping[str, Trait], lows: Mapping[str, float]) -> Iterator[Diagnostic]:
    """Said once of a field and a network."""
    nodes, said = graph.nodes, set[tuple[str, str]]()
    order = [nodes[n] for n in in_order(nodes, [u.loss for u in graph.updates])]
    made = of_texts(nodes, traits, [n.id for n in order])
    judges = graph.trained
    beside: dict[tuple[str, int], list[tuple[str, Node]]] = {}
    for node in order:
        if node.kind == "call" and node.target in judges:
            for k, part in enumerate(shown_parts(nodes, node)):
                beside.setdefault((node.target, k), []).append((part, node))
        elif node.kind == "op" and node.target in COMPARING:
            beside[node.id, 0] = [(i, node) for i in node.inputs[:2]]
    for together in beside.values():
        fields = [name for name, _ in together if nodes[name].kind == "field" and nodes[name].target in lows]
        for name, reader in together:
            ending = made[name].ending
            for field in fields:
                low = lows[nodes[field].target]
                wrong = (ending == "tanh" and low >= 0) or (ending == "sigmoid" and low < 0)
                if wrong and (field, name) not in said:
                    said.add((field, name))
                    yield _finding(nodes[name], nodes[field], reader, ending, low)


def _finding(made: Node, field: Node, reader: Node, ending: str, low: float) -> Diagnostic:
    name = made.label
    span = "from -1 to 1" if ending == "tanh" else "from 0 to 1"
    start = "at 0 or above" if low >= 0 else f"at {low:.3g}"
    return Diagnostic(
        "warning", "range",
        f"`{name}` comes out of a {ending} and goes {span}, and `{field.target}`, beside which it is judged in "
        f"`{reader.text}`, starts {start}", reader.location,
        f"bring the data into the range of the {ending}, or let the network end in "
        + ("a sigmoid" if ending == "tanh" else "a tanh"),
    )  # fmt: skip
