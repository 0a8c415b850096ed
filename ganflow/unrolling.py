"""Unrolled networks: their weights are a value, made by steps on an inner loss (language.md §4, ``unroll_of``).

``Dk(fake)`` becomes a call whose first input is the node ``Dk``, and that node has as inputs what the inner loss reads
from outside: values that do not depend on the weights of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ganflow.errors import GanflowError
from ganflow.experiment import Experiment, Network, Text
from ganflow.graph import LEAVES, Node, Unroll, in_order
from ganflow.modes import passes_gradient
from ganflow.reader import Reader


def link_unrolled(reader: Reader, experiment: Experiment) -> Mapping[str, Node]:
    """The reader's nodes, with every call of an unrolled network linked to how its weights are made."""
    for network in experiment.networks.values():
        calls = [n for n in reader.nodes.values() if network.name in n.networks]
        if network.unroll_of is None or not calls:
            continue
        reader.nodes[network.name] = _unrolled(reader, experiment, network)
        for call in calls:
            if call.kind != "call":
                raise GanflowError(
                    f"`{call.text}` reads the weights of the unrolled network {network.name}", location=call.location,
                    hint="an unrolled network can be called, nothing else", code="unroll",
                )  # fmt: skip
            inputs = (network.name, *call.inputs)
            reader.nodes[call.id] = replace(reader.nodes[call.id], inputs=inputs, networks=())
    return reader.nodes


def _unrolled(reader: Reader, experiment: Experiment, network: Network) -> Node:
    source, given = network.unroll_of or "", network.unroll_minimize
    place = network.where.get("unroll_minimize", network.location)
    if source not in experiment.networks or experiment.networks[source].derived:
        raise GanflowError(
            f"`{network.name}/Network.unroll_of` is {source!r}, which is not a network with weights of its own",
            location=network.where.get("unroll_of", network.location), code="unroll",
        )  # fmt: skip
    if not isinstance(given, Text):
        raise GanflowError(
            f"the unrolled network {network.name} minimizes nothing", location=place, code="no-loss",
            hint=f"bind the loss of its inner steps: {network.name}/Network.unroll_minimize = '...'",
        )  # fmt: skip
    loss = reader.root(f"{network.name}.unroll_minimize", given, place)
    if any(network.name in reader.nodes[n].networks for n in in_order(reader.nodes, [loss])):
        raise GanflowError(f"the inner loss of {network.name} calls {network.name}", location=given.location,
                           code="cycle", hint=f"it is minimized in the weights of {source}")  # fmt: skip
    inner = inner_nodes(reader.nodes, loss, source)
    if loss not in inner:
        raise GanflowError(
            f"the inner loss of {network.name} does not depend on {source}", location=given.location, code="unroll",
            hint=f"it is minimized in the weights of {source}",
        )  # fmt: skip
    outer = _read_from_outside(reader.nodes, inner)
    first = network.unroll_first_order
    networks = dict.fromkeys((source, *(n for i in inner for n in reader.nodes[i].networks if not first)))
    passes = tuple(passes and not first for passes in outer.values())
    how = Unroll(source, loss, int(network.unroll_steps), float(network.unroll_lr), passes, first)
    return Node(
        network.name, "unroll", source, inputs=tuple(outer), value=how, networks=tuple(networks), name=network.name,
        text=f"{source} after {how.steps} steps on {given.source}", location=place,
    )  # fmt: skip


def inner_nodes(nodes: Mapping[str, Node], loss: str, source: str) -> list[str]:
    """What of an inner loss depends on the weights of the source, in order of evaluation."""
    found: dict[str, None] = {}
    for name in in_order(nodes, [loss]):
        node = nodes[name]
        if source in node.networks or any(i in found for i in node.inputs):
            found.setdefault(name)
    return list(found)


def _read_from_outside(nodes: Mapping[str, Node], inner: list[str]) -> dict[str, bool]:
    """Values that the inner loss reads, and whether gradient passes from it to them."""
    inside, outer = set(inner), dict[str, bool]()
    live = _live(nodes, inner)
    stack = [
        (source, name in live and passes_gradient(nodes[name], position))
        for name in reversed(inner)
        for position, source in reversed(list(enumerate(nodes[name].inputs)))
        if source not in inside
    ]
    while stack:
        name, passes = stack.pop()
        node = nodes[name]
        if node.is_statement or node.kind in ("field", "parameter"):
            outer[name] = outer.get(name, False) or passes
        elif node.kind not in LEAVES:
            stack += [(i, passes and passes_gradient(node, p)) for p, i in reversed(list(enumerate(node.inputs)))]
    return outer


def _live(nodes: Mapping[str, Node], inner: list[str]) -> set[str]:
    live = {inner[-1]}
    for name in reversed(inner):
        if name in live:
            live |= {i for p, i in enumerate(nodes[name].inputs) if passes_gradient(nodes[name], p)}
    return live
