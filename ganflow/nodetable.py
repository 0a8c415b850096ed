"""The nodes of a program while it is read: each gets an id, a size, and perhaps a name.

table = NodeTable()
node = table.leaf(scope, tree, "op", target="+", inputs=("G.minimize.1", "G.minimize.2"))    # 'G.minimize.3'
table.name_node(node, "loss")                                                                # 'loss'
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ganflow import expr as E
from ganflow.arithmetic import check_operands
from ganflow.errors import GanflowError, Location
from ganflow.measuring import Sizes
from ganflow.nodes import LEAVES, Node
from ganflow.scopes import Scope

MAX_NODES = 20_000  # templates that expand templates can grow exponentially
MAX_EXPANSIONS = 5_000  # and need not make a node of each


class NodeTable:
    """Lives for one call of ``resolve``."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.counts: Counter[str] = Counter()
        self.made: dict[str, int] = {}  # the place of each piece of text in the order of reading
        self.parts: Counter[str] = Counter()  # how often a name of a part was taken already
        self.expansions = 0
        self.sizes = Sizes()
        self.drawing: set[str] = set()  # owners whose text has sites

    def number_sites(self, owner: str) -> None:
        if owner not in self.drawing:
            return
        drawn = [n for n in self.nodes.values() if n.owner == owner and n.site]
        total = Counter(n.site for n in drawn)
        seen: Counter[str] = Counter()
        for node in drawn:
            seen[node.site] += 1
            site = node.site if total[node.site] == 1 else f"{node.site}#{seen[node.site]}"
            self.nodes[node.id] = replace(node, site=site)

    def leaf(self, scope: Scope, tree: E.Expr, kind: str, **fields: object) -> str:
        self.counts[scope.owner] += 1
        if fields.get("site"):
            self.drawing.add(scope.owner)
        node = Node(
            f"{scope.owner}.{self.counts[scope.owner]}", kind, owner=scope.owner, text=E.show(tree),  # type: ignore[arg-type]
            location=tree.location, **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        self.made[node.id] = len(self.made)
        return self.add(node)

    def count_expansion(self, at: Location) -> None:
        """One more template is expanded; f(f(x)) in each of thirty would be a thousand million."""
        self.expansions += 1
        if self.expansions > MAX_EXPANSIONS:
            raise GanflowError(
                f"templates are expanded more than {MAX_EXPANSIONS:,} times", location=at, code="too-large",
                hint="a template that calls templates grows quickly; give the repeated part a definition",
            )  # fmt: skip

    def add(self, node: Node) -> str:
        if len(self.nodes) > MAX_NODES:
            raise GanflowError(
                f"this expands to more than {MAX_NODES:,} parts", location=node.location, code="too-large",
                hint="a template that calls templates grows quickly; give the repeated part a definition",
            )  # fmt: skip
        check_operands(self.nodes, node)
        self.sizes.add(self.nodes, node)
        return self.nodes.setdefault(node.id, node).id

    def name_node(self, node: str, name: str) -> str:
        """Give the node of a definition's whole text the definition's name; an alias keeps the name it has."""
        old = self.nodes[node]
        if old.owner != name or old.name or old.kind in ("field", "counter", "state", "network"):
            return node
        self.nodes[name] = replace(old, id=name, name=name)
        if node != name:
            del self.nodes[node]
            self.sizes.rename(node, name)
        return name

    def part(self, node: str, name: str) -> str:
        """Make a new unnamed node a value of its own, under the name of a part of a template."""
        old, key = self.nodes[node], name
        if old.kind in LEAVES or old.host or old.name:
            return node
        while key in self.nodes:  # counted on from the last time: a part keeps its name
            self.parts[name] += 1
            key = f"{name}.{self.parts[name] + 1}"
        self.nodes[key] = replace(old, id=key, name=key)
        del self.nodes[node]
        self.sizes.rename(node, key)
        return key
