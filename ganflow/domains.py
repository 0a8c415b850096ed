"""Which domain a value is in, where the dataset declares one for each field; and losses that compare across domains.

    G_A = D_A(G_A(real_A)) beside D_A(real_B)        # D_A judges both: what G_A makes is in the domain of real_B
    idt = 'l1(G_A(real_A), real_A)'                  # warning[domains]: satellite against relief

A generator's domain is learned from the discriminators: what they are shown beside it. Where they disagree, or show
several domains, nothing is known and nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ganflow.experiment import Diagnostic, Experiment
from ganflow.graph import StepGraph
from ganflow.nodes import Node, in_order, tensor_inputs

COMPARING = ("l1", "mse")
KEEPING = ("flip", "clamp", "resize", "abs", "+", "-", "*", "/", "neg")


def check_domains(graph: StepGraph, experiment: Experiment) -> Iterator[Diagnostic]:
    """Identity and cycle losses that compare a value of one domain with one of another."""
    if not any(f.domain for f in (experiment.fields or {}).values()):
        return
    nodes = graph.nodes
    read = [nodes[n] for n in in_order(nodes, [u.loss for u in graph.updates])]
    made = outputs(graph, read, experiment)
    for node in read:
        if node.kind != "op" or node.target not in COMPARING or len(node.inputs) < 2:
            continue
        a, b = node.inputs[:2]
        left, right = domain(nodes, a, experiment, made), domain(nodes, b, experiment, made)
        if left and right and left != right:
            yield Diagnostic(
                "warning", "domains",
                f"`{node.text}` compares `{nodes[a].text}`, which is {left}, with `{nodes[b].text}`, which is {right}",
                node.location, _cure(nodes, nodes[a], right, experiment, made),
            )  # fmt: skip


def _cure(nodes: Mapping[str, Node], node: Node, wanted: str, experiment: Experiment, made: Mapping[str, str]) -> str:
    others = [n for n, d in made.items() if d == wanted]
    fields = [
        f.name for f in (experiment.fields or {}).values() if f.domain == domain(nodes, node.id, experiment, made)
    ]
    parts = [
        f"{others[0]} makes {wanted}" if others else "",
        f"compare it with {' or '.join(fields)}" if fields else "",
    ]
    return "; or ".join(filter(None, parts))


def domain(nodes: Mapping[str, Node], name: str, experiment: Experiment, made: Mapping[str, str]) -> str:
    """The domain of a value, empty where it is not known."""
    found, seen, stack = set[str](), {name}, [name]
    while stack:
        node = nodes[stack.pop()]
        if node.kind == "field":
            found.add((experiment.fields or {})[node.target].domain)
        elif node.kind == "call":
            found.add("" if node.path else made.get(node.target, ""))
        elif _keeps(nodes, node):
            inner = tensor_inputs(nodes, node)
            inner = inner if node.kind == "op" and not node.stateful else list(node.inputs[:1])
            stack += [i for i in inner if i not in seen]
            seen.update(inner)
        else:
            return ""
    return found.pop() if len(found) == 1 else ""


def _keeps(nodes: Mapping[str, Node], node: Node) -> bool:
    """What it gives is in the domain of what it is given."""
    part = node.kind == "index" and nodes[node.inputs[1]].kind == "slice"
    return node.kind == "detach" or node.stateful or part or (node.kind == "op" and node.target in KEEPING)


def outputs(graph: StepGraph, read: list[Node], experiment: Experiment) -> dict[str, str]:
    """Network -> the domain of what it makes, learned from what else its judges are shown in the same place."""
    nodes, seen = graph.nodes, dict[tuple[str, int], list[str]]()
    for node in read:
        if node.kind == "call":
            for k, part in enumerate(shown_parts(nodes, node)):
                seen.setdefault((node.target, k), []).append(part)
    found: dict[str, set[str]] = {}
    for (judge, _), shown in seen.items():
        real = {domain(nodes, n, experiment, {}) for n in shown} - {""}
        for maker in (_maker(nodes, n) for n in shown):
            if maker and real and _judges(graph, judge, maker):
                found.setdefault(maker, set()).update(real)
    return {network: next(iter(domains)) for network, domains in found.items() if len(domains) == 1}


def _judges(graph: StepGraph, judge: str, maker: str) -> bool:
    """It is trained, and never together with what makes the images: the two generators of a cycle are."""
    trained = [u.networks for u in graph.updates if judge in u.networks]
    return bool(trained) and not any(maker in networks for networks in trained)


def shown_parts(nodes: Mapping[str, Node], node: Node) -> list[str]:
    """What a judge is shown: its arguments, a `cat` taken apart."""
    parts: list[str] = []
    for i in node.inputs:
        n = nodes[i]
        joined = n.kind == "op" and n.target == "cat"
        parts += n.positional if joined else [i]
    return parts


def _maker(nodes: Mapping[str, Node], name: str) -> str:
    """The network whose output this is."""
    node = nodes[name]
    if _keeps(nodes, node) and (node.kind != "op" or node.stateful):
        return _maker(nodes, node.inputs[0])
    return node.target if node.kind == "call" and not node.path else ""
