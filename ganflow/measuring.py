"""How large a value is as one line of text: what stands inside it is written out again wherever it is read.

    sizes = Sizes()
    sizes.add(nodes, node)          # refuses what no one could read, before anything walks over it

Ten definitions of numbers that each read the one before twice are a thousand numbers in a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ganflow.errors import GanflowError
from ganflow.nodes import LEAVES, OPERATORS, Node
from ganflow.parsing import MAX_CHAIN, MAX_DEPTH

MAX_PARTS = 20_000
_SUMS = frozenset({"+", "-"})


@dataclass(frozen=True)
class Size:
    """Of a value as text.

    Args:
        parts: nodes, those that are written twice counted twice.
        height: of the tree that Python's compiler sees, operators in a row included.
        nesting: what a reader sees: brackets inside brackets.
    """

    parts: int = 1
    height: int = 0
    nesting: int = 0


_NAME = Size()


class Sizes:
    """Of the nodes of one program, as they are made."""

    def __init__(self) -> None:
        self.found: dict[str, Size] = {}

    def add(self, nodes: Mapping[str, Node], node: Node) -> None:
        """Measure a node whose inputs are measured.

        Raises:
            GanflowError: ``too-large``.
        """
        inner = [self.of(nodes, i) for i in node.inputs]
        size = Size(
            1 + sum(i.parts for i in inner),
            1 + max((i.height for i in inner), default=0),
            max((i.nesting + _brackets(nodes, node, k) for k, i in enumerate(inner)), default=0),
        )
        if size.nesting > MAX_DEPTH:
            raise _too_large(node, f"nested deeper than {MAX_DEPTH} levels")
        if size.height > MAX_CHAIN + MAX_DEPTH:
            raise _too_large(node, f"more than {MAX_CHAIN:,} operators in a row")
        if size.parts > MAX_PARTS:
            raise _too_large(node, f"more than {MAX_PARTS:,} parts long")
        self.found[node.id] = size

    def of(self, nodes: Mapping[str, Node], name: str) -> Size:
        """As its readers see it: what has a line of its own is a name."""
        node = nodes[name]
        return _NAME if node.is_statement or node.kind in LEAVES else self.found.get(name, _NAME)

    def rename(self, old: str, new: str) -> None:
        if old in self.found:
            self.found[new] = self.found.pop(old)


def _brackets(nodes: Mapping[str, Node], node: Node, position: int) -> int:
    """0 for the left operand in a row of operators that bind alike."""
    if node.kind != "op" or node.target not in OPERATORS or position or len(node.inputs) < 2:
        return 1
    left = nodes[node.inputs[0]]
    if left.kind != "op" or left.target not in OPERATORS - {"**", "neg"} or node.target == "**":
        return 1
    return int(left.target in _SUMS and node.target not in _SUMS)


def _too_large(node: Node, what: str) -> GanflowError:
    return GanflowError(
        f"with all that it is made of, this is {what}", location=node.location, code="too-large",
        hint="numbers and unnamed parts are written out wherever they are read: give tensors inside it names",
    )  # fmt: skip
