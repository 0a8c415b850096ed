"""Strings and tuples are no numbers: Python would repeat them, or format them, up to any length.

check_operands(nodes, node)         # '"a" * 10 ** 10', '"%999999999d" % step'
"""

from __future__ import annotations

from collections.abc import Mapping

from ganflow.errors import GanflowError
from ganflow.nodes import OPERATORS, Node

_SEQUENCES = (str, tuple, list)


def check_operands(nodes: Mapping[str, Node], node: Node) -> None:
    """Refuse arithmetic on what may be a string, a tuple or a list; ``+`` joins them.

    Raises:
        GanflowError: ``not-a-number``.
    """
    if node.kind != "op" or node.target not in OPERATORS or node.target == "+":
        return
    for name in node.inputs:
        if _may_be_sequence(nodes, name):
            sign = "-" if node.target == "neg" else node.target
            raise GanflowError(
                f"`{nodes[name].text}` is no number, and `{sign}` calculates", location=node.location,
                hint="operators take numbers and tensors; `+` also joins tuples", code="not-a-number",
            )  # fmt: skip


def _may_be_sequence(nodes: Mapping[str, Node], name: str) -> bool:
    stack, seen = [(name, 0)], {(name, 0)}  # (value, how many times one of its elements is taken)
    while stack:
        found, taken = stack.pop()
        node = nodes[found]
        if node.kind == "pack" and not taken or node.kind == "constant" and _holds(node.value, taken):
            return True
        for entry in _one_of(nodes, node, taken):
            if entry not in seen:
                seen.add(entry)
                stack.append(entry)
    return False


def _one_of(nodes: Mapping[str, Node], node: Node, taken: int) -> list[tuple[str, int]]:
    """What the value may be one of."""
    if node.kind == "index":
        return [(node.inputs[0], taken + (nodes[node.inputs[1]].kind != "slice"))]
    if node.kind == "pack":
        return [(i, taken - 1) for i in node.inputs]
    if node.kind == "op" and node.target in ("if", "and", "or", "+"):
        return [(i, taken) for i in node.inputs[node.target == "if" :]]
    return []


def _holds(value: object, taken: int) -> bool:
    """Is an element of an element of it, so often, a string, a tuple or a list?"""
    if isinstance(value, str) or not taken:
        return isinstance(value, _SEQUENCES)
    return isinstance(value, (tuple, list)) and any(_holds(v, taken - 1) for v in value)
